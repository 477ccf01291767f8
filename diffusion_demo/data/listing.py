"""The files of a source before any of them is read: a folder, or a list of files."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from diffusion_demo.data import names
from diffusion_demo.data.file_errors import UnreadableFile, readable, reason_for
from diffusion_demo.errors import BadInput

MAX_FILES = 250_000


@dataclass(frozen=True, slots=True)
class Member:
    """One file that is called an image: its label, which no other member has, the folder it lies in, its own name, and its bytes.

    `read` raises Unreadable.
    """

    label: str
    folder: str
    base: str
    read: Callable[[], bytes]


class Listing:
    """members: what is called an image; skipped: label -> reason; ignored: how many files are called something else."""

    def __init__(self, where: str):
        self.where = where
        self.members: list[Member] = []
        self.skipped: dict[str, str] = {}
        self.ignored = 0
        self._files = 0
        self._given: Counter[str] = Counter()

    def add(self, parts: Iterable[str], read: Callable[[], bytes], problem: str | None = None) -> None:
        """Take in one file by its folders and name; `problem` says why an image here is not even opened. Raises BadInput for too many."""
        self._files += 1
        if self._files > MAX_FILES:
            raise too_many(self.where)
        parts = names.safe_parts(parts)
        if not parts or names.is_hidden(parts):
            return
        kind = names.suffix(parts[-1])
        if kind in names.OTHER_IMAGE_SUFFIXES:
            problem = f"{kind.upper()} images are not read here; save it as PNG or JPEG."
        elif kind in names.ARCHIVES:
            problem = "It is an archive inside; unpack it first."
        elif kind not in names.IMAGES:
            self.ignored += 1
            return
        if problem:
            self.skip(parts, problem)
        else:
            folder = names.shortened(parts[-2], names.MAX_FOLDER) if len(parts) > 1 else ""
            self.members.append(Member(self._label(parts), folder, parts[-1], read))

    def skip(self, parts: Iterable[str], reason: str) -> None:
        self.skipped[self._label(names.safe_parts(parts))] = reason

    def _label(self, parts: tuple[str, ...]) -> str:
        """The parts with slashes between; numbered where that was given out before."""
        label = wanted = names.shortened("/".join(parts), names.MAX_LABEL) or "no name"
        while self._given[label]:
            self._given[wanted] += 1
            label = f"{wanted} ({self._given[wanted]})"
        self._given[label] += 1
        return label


def too_many(where: str) -> BadInput:
    return BadInput(f"{where} holds more than {MAX_FILES:,} files; give it in parts.")


MAX_FILE_BYTES = 100_000_000
PIECE_BYTES = 1 << 18
TOO_LARGE = f"It is larger than {MAX_FILE_BYTES // 1_000_000} MB; make it smaller."
NO_FILE = "It is no ordinary file; put an image in its place."
LINK_TO_FOLDER = "It is a link to a folder, which is not followed; put the folder itself there."
LINK_OUT = "It is a link that leads out of the folder; put the image itself there."
LINK_TO_NOTHING = "It is a link to nothing; put the image itself there."


def list_folder(root: Path) -> Listing:
    """Everything in a folder and, however deep, in its folders; a link counts where it leads to a file inside.

    Raises BadInput when the folder cannot be opened, or holds too many files.
    """
    listing, inside = Listing(names.safe(root.name)), os.path.realpath(root)
    folders: list[tuple[str, ...]] = [()]
    while folders:
        parts = folders.pop()
        try:
            with os.scandir(os.path.join(root, *parts)) as found:
                entries = sorted(islice(found, MAX_FILES + 1), key=lambda entry: entry.name)
            for entry in entries:
                _add(listing, folders, (*parts, entry.name), entry, inside)
        except OSError as error:
            if not parts:
                raise BadInput(
                    f"The folder {root} cannot be opened ({error.strerror}); change its permissions."
                ) from error
            listing.skip(parts, reason_for(error))
    return listing


def _add(
    listing: Listing, folders: list[tuple[str, ...]], place: tuple[str, ...], entry: os.DirEntry, inside: str
) -> None:
    if names.is_hidden([entry.name]):
        return
    if entry.is_symlink():
        target = os.path.realpath(entry.path)
        if os.path.isdir(target):
            listing.skip(place, LINK_TO_FOLDER)
        elif not Path(target).is_relative_to(inside):
            listing.add(place, partial(read_file, target), LINK_OUT)
        else:
            listing.add(place, partial(read_file, target), None if os.path.isfile(target) else LINK_TO_NOTHING)
    elif entry.is_dir(follow_symlinks=False):
        folders.append(place)
    else:
        listing.add(place, partial(read_file, entry.path), None if entry.is_file(follow_symlinks=False) else NO_FILE)


def list_files(paths: Iterable[Path]) -> Listing:
    """Single files, wherever they lie: of their folders nothing is kept."""
    listing = Listing("The list")
    for path in paths:
        name = os.path.basename(os.path.abspath(path))
        if os.path.isdir(path):
            listing.skip([name], "It is a folder among files; give it by itself.")
        elif os.path.isfile(path) or not os.path.exists(path):
            listing.add([name], partial(read_file, os.path.realpath(path)))
        else:
            listing.add([name], partial(read_file, path), NO_FILE)
    return listing


def read_file(path: str) -> bytes:
    """Raises Unreadable, with the reason."""
    with readable(), open_file(path) as file:
        return read_all(file)


def open_file(path: str) -> BinaryIO:
    """Open an ordinary file; a pipe, device or link that has taken its place is refused, and does not hang."""
    flags = ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY")  # no system has all of them
    descriptor = os.open(path, os.O_RDONLY | sum(getattr(os, flag, 0) for flag in flags))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableFile(NO_FILE)
    return os.fdopen(descriptor, "rb")


def read_all(file: BinaryIO) -> bytes:
    """A file to its end, in pieces, for what it says of its size may be untrue. Raises Unreadable for an empty or a large one."""
    pieces, count = [], 0
    while piece := file.read(PIECE_BYTES):
        count += len(piece)
        if count > MAX_FILE_BYTES:
            raise UnreadableFile(TOO_LARGE)
        pieces.append(piece)
    if not pieces:
        raise UnreadableFile("It is empty; copy it again.")
    return b"".join(pieces)
