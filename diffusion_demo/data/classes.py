"""The class of each image: from label files, from the folder level that tells classes apart, or from file names."""

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from diffusion_demo.data import names
from diffusion_demo.data.file_errors import UnreadableFile
from diffusion_demo.data.listing import Listing, SourceFile, max_label_bytes

# Also with digits, such as train2017 of COCO.
SPLITS = re.compile(r"(train|training|val|valid|validation|test|testing|dev|eval|holdout)([-_ ]?\d+)?", re.IGNORECASE)
GENERIC = frozenset(
    {"images", "image", "imgs", "img", "pictures", "photos", "pics", "jpeg", "jpegimages", "jpg", "png"}
)
DATE = re.compile(r"(19|20)\d\d([-_.]?(0[1-9]|1[0-2])([-_.]?[0-3]\d)?)?")
MONTH = re.compile(r"0[1-9]|1[0-2]")
YEAR = re.compile(r"(19|20)\d\d")
MAX_PATH = 4096  # characters
INSIDE = "folders inside classes"
SHARD = re.compile(r"\d{3,}|(shard|part|chunk|batch)[-_ ]?\d+", re.IGNORECASE)
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category")
DELIMITERS = ",;\t|"  # spreadsheets write semicolons where the comma separates decimals
NAME_COLUMNS = ("file_name", "filename", "file", "image", "path")

ClassOf = Callable[[SourceFile], str]


def classes_from_folders(listing: Listing) -> tuple[ClassOf, tuple[str, ...]]:
    """Return the function from a member to its class, and one sentence for each decision that the user should know.

    Label files (names.LABEL_FILES) come first. Otherwise the class is the innermost folder, without the levels that
    only split the images: train and val, dates, numbered shards, and an `images` inside each class. Each source of a
    listing is looked at alone, because paths and label files of one say nothing about another.
    """
    if not listing.titles:
        return _classes_of_source(listing.members, listing.label_files)
    found: list[ClassOf] = []
    notes: list[str] = []
    for source, title in enumerate(listing.titles):
        members, label_files = (
            [member for member in group if member.source == source] for group in (listing.members, listing.label_files)
        )
        class_of, own_notes = _classes_of_source(members, label_files)
        found.append(class_of)
        notes += [f"{title}: {note}" for note in own_notes]
    return (lambda member: found[member.source](member)), tuple(dict.fromkeys(notes))


def _classes_of_source(
    members: Sequence[SourceFile], label_files: Sequence[SourceFile]
) -> tuple[ClassOf, tuple[str, ...]]:
    by_path, used, notes = dict[str, str](), list[str](), list[str]()
    paths = {member.path for member in members}
    readable_files, large = _within_limit(label_files)
    notes += [f"{file.path} is too large, so it is ignored. Remove the rows that name no image." for file in large]
    for file in readable_files:
        labels, own_notes = _read_labels(file, paths)
        if conflicts := sum(by_path.get(path, label) != label for path, label in labels.items()):
            notes.append(
                f"Labels in {file.path} that override different ones in another file: {conflicts:,}. "
                "Remove one of the files."
            )
        by_path |= labels
        notes += own_notes
        used += [file.path] if labels else []
    if used:
        shown = ", ".join(sorted(used)[:3]) + (", ..." if len(used) > 3 else "")
        notes.insert(0, f"The classes come from {shown} ({len(by_path):,} of {len(members):,} images).")
        return partial(_label_of, by_path), tuple(notes)
    classes, level_notes = _informative({member.folders for member in members}, members)
    return (lambda member: classes[member.folders]), (*notes, *level_notes)


def _within_limit(label_files: Sequence[SourceFile]) -> tuple[list[SourceFile], list[SourceFile]]:
    """Split label files into those that are small enough together, and the others."""
    small, large, total = [], [], 0
    for file in label_files:
        with suppress(OSError):  # reading it fails with a reason
            total += file.read.size()
        (small if total <= max_label_bytes() else large).append(file)
    return small, large


def _read_labels(file: SourceFile, paths: Container[str]) -> tuple[dict[str, str], list[str]]:
    """Return the labels in a file by the path of the image, and one sentence for each thing that is wrong."""
    try:
        rows, unreadable = _parse_labels(file.file_name.lower(), file.read())
    except (UnreadableFile, ValueError, TypeError, KeyError, AttributeError, RecursionError, csv.Error):
        return {}, [f"{file.path} cannot be read as labels, so it is ignored. Check its columns."]
    notes = [f"Unreadable rows of {file.path}, which are ignored: {unreadable:,}. Correct them."]
    notes = notes if unreadable else []
    if not rows:
        return {}, [*notes, f"{file.path} has no labels, so it is ignored."]
    prefix = "".join(f"{folder}/" for folder in file.folders)
    labels, ambiguous = dict[str, str](), set[str]()
    for path, label in rows:
        if (known := _path_in_source(prefix + path, paths)) and labels.setdefault(known, label) != label:
            ambiguous.add(known)
            labels[known] = label
    if ambiguous:
        notes.append(
            f"Images with several labels in {file.path}, of which the last is used: {len(ambiguous):,}. Correct them."
        )
    labels.pop("", None)
    if not labels:
        notes.append(f"{file.path} names none of the images, so it is ignored. Check its paths.")
    return labels, notes


def _path_in_source(path: str, paths: Container[str]) -> str:
    """Return the longest trailing part of a path that exists in the source, or "". Some label files hold full paths."""
    if len(path) > MAX_PATH:
        return ""
    while path and path not in paths:
        path = path.partition("/")[2]
    return path


def _label_of(by_path: Mapping[str, str], member: SourceFile) -> str:
    return by_path.get(member.path, "")


def classes_from_file_names(listing: Listing) -> ClassOf:
    """Return the function from a member to the part of its file name before the first underscore.

    A file name without an underscore is a class of its own, unless no file name has an underscore.
    """
    if any("_" in member.file_name for member in listing.members):
        return lambda member: names.parse_class(member.file_name)
    return lambda member: ""


def _informative(
    paths: Iterable[tuple[str, ...]], members: Sequence[SourceFile]
) -> tuple[dict[tuple[str, ...], str], list[str]]:
    """Return the class of each folder path, and a sentence for each level of folders that makes no classes."""
    rest, notes = {path: tuple(folder.strip() for folder in path) for path in paths}, []
    for level in (0, -1):
        while kind := _kind_of_level(rest, members, level):
            found = _names_at(rest.values(), level)
            if kind != INSIDE:
                shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
                notes.append(f"The folders {shown} look like {kind}, so they are not used as classes.")
            for path, left in rest.items():
                if _reaches(left, level):
                    rest[path] = left[1:] if level == 0 else left[:-1]
    return {path: names.shorten(left[-1], names.MAX_FOLDER) if left else "" for path, left in rest.items()}, notes


def _reaches(path: tuple[str, ...], level: int) -> bool:
    """Return whether a path has a folder at this level; the innermost one counts only inside another one."""
    return len(path) > (0 if level == 0 else 1)


def _names_at(paths: Iterable[tuple[str, ...]], level: int) -> list[str]:
    return sorted({path[level] for path in paths if _reaches(path, level)})


def _kind_of_level(rest: Mapping[tuple[str, ...], tuple[str, ...]], members: Sequence[SourceFile], level: int) -> str:
    """Return the kind of folders at level 0 (outermost) or -1 (innermost), such as "splits"; "" if they are classes."""
    found = _names_at(rest.values(), level)
    if not found:
        return ""
    if all(SPLITS.fullmatch(name) for name in found):
        return "splits"
    if all(DATE.fullmatch(name) for name in found) or (level == -1 and _are_months(rest.values())):
        return "dates"
    if level == -1 and all(name.lower() in GENERIC for name in found):
        return INSIDE
    if len(found) > 1 and all(SHARD.fullmatch(name) for name in found) and _go_on(rest, members, level):
        return "shards"
    return ""


def _are_months(paths: Iterable[tuple[str, ...]]) -> bool:
    """Return whether the innermost folders are months, 01 to 12, inside years."""
    inner = [path for path in paths if len(path) > 1]
    return all(MONTH.fullmatch(path[-1]) and YEAR.fullmatch(path[-2]) for path in inner)


def _go_on(rest: Mapping[tuple[str, ...], tuple[str, ...]], members: Sequence[SourceFile], level: int) -> bool:
    """Return whether no file name occurs in two of the folders: shards continue the numbering, classes restart it."""
    owner: dict[str, str] = {}
    for member in members:
        path = rest[member.folders]
        if _reaches(path, level) and owner.setdefault(member.file_name, path[level]) != path[level]:
            return False
    return True


def _parse_labels(file_name: str, data: bytes) -> tuple[list[tuple[str, str]], int]:
    """Return the path and label of each row of a label file that has a label, and the number of unreadable rows.

    Raises what its format raises.
    """
    text = _decoded(data)
    if file_name == "dataset.json":  # StyleGAN: {"labels": [["00000/img00000000.png", 3], ...]}
        pairs = [(path, label) for path, label in json.loads(text)["labels"] or []]
        return [(str(path), str(label)) for path, label in pairs if label is not None], 0
    rows, unreadable = _json_rows(text) if file_name == "metadata.jsonl" else (_csv_rows(text), 0)
    columns: dict[str, Any] = {str(name).lower().strip(): name for row in rows for name in row}
    name = next((columns[column] for column in NAME_COLUMNS if column in columns), None)
    label = next((columns[column] for column in LABEL_COLUMNS if column in columns), None)
    if name is None or label is None:
        return [], unreadable
    values = [(row.get(name), row.get(label)) for row in rows]
    return [
        (names.safe_path(str(path).strip()), names.shorten(names.safe(str(value)).strip(), 100))
        for path, value in values
        if path is not None and value is not None
    ], unreadable


def _csv_rows(text: str) -> list[dict[Any, Any]]:
    lines = io.StringIO(text, newline=None)  # Excel's "CSV (Macintosh)" ends lines with a carriage return alone
    delimiter = max(DELIMITERS, key=lines.readline().count)
    lines.seek(0)
    return list(csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True))


def _json_rows(text: str) -> tuple[list[dict[Any, Any]], int]:
    """Return the JSON objects on the lines of a text, and the number of lines that are none."""
    rows, unreadable = [], 0
    for line in filter(str.strip, text.split("\n")):  # splitlines would also split at U+2028 inside a value
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            unreadable += 1
    return rows, unreadable


def _decoded(data: bytes) -> str:
    """Decode a label file: as UTF-16 if it has a byte order mark, else as UTF-8 or, if that fails, as Windows-1252."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
