"""Scan of an image source: read and decode every image once, and report the result."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from diffusion_demo.data.classes import ClassOf, classes_from_file_names, classes_from_folders
from diffusion_demo.data.file_errors import UnreadableFile, decoding, readable
from diffusion_demo.data.file_threads import map_files
from diffusion_demo.data.listing import SourceFile
from diffusion_demo.data.preprocess import has_frames, is_grayscale, large_image_slot, load_pixels, open_image
from diffusion_demo.data.report import Entry, Report, list_suffixes
from diffusion_demo.data.scan_cache import ScanCache, is_held_out
from diffusion_demo.data.source import open_source, parse_source, title_of
from diffusion_demo.errors import BadInput

CLASSES_FROM = ("folder", "file_name")
GRAY_CHECK_SIZE = 8
MIN_IMAGES_TO_HOLD_OUT = 20


def scan(
    source: str | Path | Iterable[str | Path],
    class_from: str = "folder",
    progress: Callable[[int, int], None] = lambda done, total: None,
    cache: ScanCache | None = None,
) -> Report:
    """Read every image of a folder, a zip file, or a list of files or of several folders and zip files.

    The class of an image is that of a label file or the name of its folder (classes_from_folders) or, with class_from
    "file_name", the part of its file name before the first underscore ("cat" for cat_01.png). A tenth of the images,
    chosen by their digests, is held out if there are at least MIN_IMAGES_TO_HOLD_OUT, but never all images of a class.
    `progress` is called with (done, total) after each file. Images that the `cache` knows are not read; others are
    added. Raises BadInput if the source cannot be read, or contains no usable image.
    """
    if class_from not in CLASSES_FROM:
        raise BadInput(f"Classes can be read from {' or '.join(CLASSES_FROM)}, not {class_from!r}.")
    source = parse_source(source)
    entries, rejected = [], {}
    with open_source(source) as listing:
        class_of, notes = (
            classes_from_folders(listing) if class_from == "folder" else (classes_from_file_names(listing), ())
        )
        results = _read_all(listing.members, class_of, cache)
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
        notes = (*listing.notes, *notes)
    if not entries:
        raise BadInput(_no_images_message(title_of(source), rejected, ignored))
    train = _trained_digests(entries) if len(entries) >= MIN_IMAGES_TO_HOLD_OUT else {e.digest for e in entries}
    entries = [replace(entry, held_out=False) if entry.digest in train else entry for entry in entries]
    entries.sort(key=lambda entry: entry.name)
    return Report(source, tuple(entries), rejected, sum(ignored.values()), ignored, notes)


def _read_all(members: Sequence[SourceFile], class_of: ClassOf, cache: ScanCache | None) -> Iterator[Entry | str]:
    """Yield the entry of each member, or the reason why it has none, read on all cores."""

    def read(member: SourceFile) -> Entry | str:
        class_name = class_of(member)
        if cache is not None and (known := cache.find(member, class_name)):
            return known
        try:
            with readable():
                stamp = member.read.stamp()
            entry = _read_entry(member, class_name)
        except UnreadableFile as error:
            return str(error)
        if cache is not None:
            cache.add(member, stamp, entry)
        return entry

    return map_files(read, members)


def _read_entry(member: SourceFile, class_name: str) -> Entry:
    data = member.read()
    with decoding(), readable():
        image = open_image(data)
        (width, height), frames = image.size, has_frames(image)
        with large_image_slot(image):
            pixels = load_pixels(image, GRAY_CHECK_SIZE)
            gray, other_colors = is_grayscale(pixels.in_eight_bits()), pixels.has_other_colors
    digest = hashlib.sha256(data).hexdigest()
    return Entry(
        member.label,
        class_name,
        digest,
        is_held_out(digest),
        width,
        height,
        gray,
        frames,
        other_colors,
        pixels.extremes,
    )


def _trained_digests(entries: Iterable[Entry]) -> set[str]:
    """Return one digest of each class of which all images are held out."""
    classes: dict[str, list[Entry]] = {}
    for entry in entries:
        classes.setdefault(entry.class_name, []).append(entry)
    # By digest, so that copies of an image stay on the same side of the split.
    return {min(e.digest for e in group) for group in classes.values() if all(e.held_out for e in group)}


def _no_images_message(title: str, rejected: dict[str, str], ignored: dict[str, int]) -> str:
    message = f"No readable images in {title}."
    if rejected:
        label, reason = next(iter(rejected.items()))
        return f"{message} For example, {label}: {reason}"
    contents = f" It has {list_suffixes(ignored)}." if ignored else ""
    return f"{message}{contents} Choose a source of PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF files."
