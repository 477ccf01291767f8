"""Every image of a source is read and decoded once, and a report made of it."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from diffusion_demo.data import names
from diffusion_demo.data.file_errors import UnreadableFile, readable
from diffusion_demo.data.listing import Listing, Member
from diffusion_demo.data.preprocess import is_grayscale, open_image, upright
from diffusion_demo.data.report import Entry, Report
from diffusion_demo.data.source import listed, source_of, title_of
from diffusion_demo.errors import BadInput

CLASSES_FROM = ("folder", "file_name")
GRAY_CHECK_SIZE = 8
MIN_IMAGES_TO_HOLD_OUT = 20


def scan(
    source: str | Path | Iterable[str | Path],
    class_from: str = "folder",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Look at every image of a folder, a zip or a list of files.

    The class of an image is the folder it lies in, or with "file_name" what its name begins with ("cat" of cat_01.png).
    `progress` is called with (done, total) after each file. Raises BadInput when there is nothing to train on.
    """
    if class_from not in CLASSES_FROM:
        raise BadInput(f"Classes come from {' or '.join(CLASSES_FROM)}, not {class_from!r}.")
    source = source_of(source)
    entries, rejected = [], {}
    with listed(source) as listing:
        label = _labeller(listing, class_from)
        for done, member in enumerate(listing.members, start=1):
            try:
                entries.append(_look(member, label(member)))
            except UnreadableFile as reason:
                rejected[member.label] = str(reason)
            progress(done, len(listing.members))
        rejected = dict(sorted((listing.skipped | rejected).items()))
    if not entries:
        raise BadInput(_nothing(title_of(source), rejected))
    if len(entries) < MIN_IMAGES_TO_HOLD_OUT:
        entries = [replace(entry, held_out=False) for entry in entries]
    return Report(source, tuple(sorted(entries, key=lambda entry: entry.name)), rejected, listing.ignored)


def _look(member: Member, class_name: str) -> Entry:
    data = member.read()
    with readable():
        image = open_image(data)
        width, height = image.size
        gray = is_grayscale(upright(image, GRAY_CHECK_SIZE))
    digest = hashlib.sha256(data).hexdigest()
    return Entry(member.label, class_name, digest, int(digest, 16) % 10 == 0, width, height, gray)


def _labeller(listing: Listing, class_from: str) -> Callable[[Member], str]:
    """How a member gets its class. A name without an underscore is a class of its own, but not where no name has one."""
    if class_from == "folder":
        return lambda member: member.folder
    if any("_" in member.base for member in listing.members):
        return lambda member: names.parse_class(member.base)
    return lambda member: ""


def _nothing(title: str, rejected: dict[str, str]) -> str:
    found = f"{title} holds no images that can be read ({', '.join(sorted(names.IMAGES))})"
    return (
        f"{found}; {next(iter(rejected))}, for one: {next(iter(rejected.values()))}"
        if rejected
        else f"{found}; choose another."
    )
