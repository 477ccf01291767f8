"""Scan of an image source: read and decode every image once, and report the result."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from diffusion_demo.data import names
from diffusion_demo.data.file_errors import UnreadableFile, decoding, readable
from diffusion_demo.data.listing import Listing, Member
from diffusion_demo.data.preprocess import is_grayscale, load_upright, open_image
from diffusion_demo.data.report import Entry, Report
from diffusion_demo.data.source import open_source, parse_source, title_of
from diffusion_demo.errors import BadInput

CLASSES_FROM = ("folder", "file_name")
GRAY_CHECK_SIZE = 8
MIN_IMAGES_TO_HOLD_OUT = 20


def scan(
    source: str | Path | Iterable[str | Path],
    class_from: str = "folder",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Read every image of a folder, a zip file or a list of files.

    The class of an image is the name of its folder or, with class_from "file_name", the part of its file name before
    the first underscore ("cat" for cat_01.png). A tenth of the images, chosen by their digests, is held out if there
    are at least MIN_IMAGES_TO_HOLD_OUT, but never all images of a class. `progress` is called with (done, total) after
    each file.

    Raises BadInput if the source cannot be read, or contains no usable image.
    """
    if class_from not in CLASSES_FROM:
        raise BadInput(f"Classes can be read from {' or '.join(CLASSES_FROM)}, not {class_from!r}.")
    source = parse_source(source)
    entries, rejected = [], {}
    with open_source(source) as listing:
        class_of = _make_class_of(listing, class_from)
        for done, member in enumerate(listing.members, start=1):
            try:
                entries.append(_read_entry(member, class_of(member)))
            except UnreadableFile as error:
                rejected[member.label] = str(error)
            progress(done, len(listing.members))
        rejected = dict(sorted((listing.skipped | rejected).items()))
    if not entries:
        raise BadInput(_no_images_message(title_of(source), rejected))
    train = _trained_digests(entries) if len(entries) >= MIN_IMAGES_TO_HOLD_OUT else {e.digest for e in entries}
    entries = [replace(entry, held_out=False) if entry.digest in train else entry for entry in entries]
    return Report(source, tuple(sorted(entries, key=lambda entry: entry.name)), rejected, listing.ignored)


def _read_entry(member: Member, class_name: str) -> Entry:
    data = member.read()
    with decoding(), readable():
        image = open_image(data)
        width, height = image.size
        gray = is_grayscale(load_upright(image, GRAY_CHECK_SIZE))
    digest = hashlib.sha256(data).hexdigest()
    return Entry(member.label, class_name, digest, int(digest, 16) % 10 == 0, width, height, gray)


def _trained_digests(entries: Iterable[Entry]) -> set[str]:
    """Return one digest of each class of which all images are held out."""
    classes: dict[str, list[Entry]] = {}
    for entry in entries:
        classes.setdefault(entry.class_name, []).append(entry)
    # By digest, so that copies of an image stay on the same side of the split.
    return {min(e.digest for e in group) for group in classes.values() if all(e.held_out for e in group)}


def _make_class_of(listing: Listing, class_from: str) -> Callable[[Member], str]:
    """Return the function from a member to its class.

    A file name without an underscore is a class of its own, unless no file name has an underscore.
    """
    if class_from == "folder":
        return lambda member: member.folder
    if any("_" in member.file_name for member in listing.members):
        return lambda member: names.parse_class(member.file_name)
    return lambda member: ""


def _no_images_message(title: str, rejected: dict[str, str]) -> str:
    message = f"{title} contains no readable images ({', '.join(sorted(names.IMAGE_SUFFIXES))})."
    if not rejected:
        return f"{message} Choose another source."
    label, reason = next(iter(rejected.items()))
    return f"{message} For example, {label}: {reason}"
