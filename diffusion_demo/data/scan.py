"""Scan of an image source: read and decode every image once, and report the result."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from diffusion_demo.data import names
from diffusion_demo.data.classes import ClassOf, classes_from_file_names, classes_from_folders
from diffusion_demo.data.file_errors import UnreadableFile, decoding, readable
from diffusion_demo.data.listing import Member
from diffusion_demo.data.preprocess import has_frames, is_grayscale, load_upright, open_image, value_extremes
from diffusion_demo.data.report import Entry, Report, list_suffixes
from diffusion_demo.data.source import open_source, parse_source, title_of
from diffusion_demo.errors import BadInput

CLASSES_FROM = ("folder", "file_name")
GRAY_CHECK_SIZE = 8
MIN_IMAGES_TO_HOLD_OUT = 20
MAX_THREADS = 4  # each may hold an image of MAX_PIXELS
FILES_AT_ONCE = 1024


def scan(
    source: str | Path | Iterable[str | Path],
    class_from: str = "folder",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Read every image of a folder, a zip file, or a list of files or of several folders and zip files.

    The class of an image is that of a label file or the name of its folder (classes_from_folders) or, with class_from
    "file_name", the part of its file name before the first underscore ("cat" for cat_01.png). A tenth of the images,
    chosen by their digests, is held out if there are at least MIN_IMAGES_TO_HOLD_OUT, but never all images of a class.
    `progress` is called with (done, total) after each file.

    Raises BadInput if the source cannot be read, or contains no usable image.
    """
    if class_from not in CLASSES_FROM:
        raise BadInput(f"Classes can be read from {' or '.join(CLASSES_FROM)}, not {class_from!r}.")
    source = parse_source(source)
    entries, rejected = [], {}
    with open_source(source) as listing:
        class_of, notes = (
            classes_from_folders(listing) if class_from == "folder" else (classes_from_file_names(listing), ())
        )
        results = _read_all(listing.members, class_of)
        for done, (member, result) in enumerate(zip(listing.members, results, strict=True), start=1):
            if isinstance(result, Entry):
                entries.append(result)
            elif member.is_guess:
                listing.ignored[""] += 1
            else:
                rejected[member.label] = result
            progress(done, len(listing.members))
        rejected = dict(sorted((listing.skipped | rejected).items()))
        ignored = dict(listing.ignored.most_common())
    if not entries:
        raise BadInput(_no_images_message(title_of(source), rejected, ignored))
    train = _trained_digests(entries) if len(entries) >= MIN_IMAGES_TO_HOLD_OUT else {e.digest for e in entries}
    entries = [replace(entry, held_out=False) if entry.digest in train else entry for entry in entries]
    entries.sort(key=lambda entry: entry.name)
    return Report(source, tuple(entries), rejected, sum(ignored.values()), ignored, notes)


def _read_all(members: Sequence[Member], class_of: ClassOf) -> Iterator[Entry | str]:
    """Yield the entry of each member, or the reason why it has none, read by several threads."""

    def read(member: Member) -> Entry | str:
        try:
            return _read_entry(member, class_of(member))
        except UnreadableFile as error:
            return str(error)

    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(members), FILES_AT_ONCE):  # `map` would hold all results of a large data set
            yield from pool.map(read, members[start : start + FILES_AT_ONCE])


def _read_entry(member: Member, class_name: str) -> Entry:
    data = member.read()
    with decoding(), readable():
        image = open_image(data)
        width, height = image.size
        frames = has_frames(image)
        deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
        upright = load_upright(image, GRAY_CHECK_SIZE)
        gray, extremes = is_grayscale(upright), value_extremes(image) if deep else None
    digest = hashlib.sha256(data).hexdigest()
    held_out = int(digest, 16) % 10 == 0
    return Entry(member.label, class_name, digest, held_out, width, height, gray, frames, extremes)


def _trained_digests(entries: Iterable[Entry]) -> set[str]:
    """Return one digest of each class of which all images are held out."""
    classes: dict[str, list[Entry]] = {}
    for entry in entries:
        classes.setdefault(entry.class_name, []).append(entry)
    # By digest, so that copies of an image stay on the same side of the split.
    return {min(e.digest for e in group) for group in classes.values() if all(e.held_out for e in group)}


def _no_images_message(title: str, rejected: dict[str, str], ignored: dict[str, int]) -> str:
    message = f"{title} contains no readable images ({', '.join(sorted(names.IMAGE_SUFFIXES))})."
    if not rejected and ignored:
        return f"{message} It has {list_suffixes(ignored)}. Choose another source."
    if not rejected:
        return f"{message} Choose another source."
    label, reason = next(iter(rejected.items()))
    return f"{message} For example, {label}: {reason}"
