"""Listing of the image files in a folder or a list of files, before any file is read."""

import io
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO

from diffusion_demo.data import names
from diffusion_demo.data.file_errors import UnreadableFile, readable, reason_for
from diffusion_demo.errors import BadInput

MAX_FILES = 250_000


@dataclass(frozen=True, slots=True)
class Member:
    """One file with the suffix of an image.

    label      unique name in the source, safe to show
    folder     name of the parent folder, or "" at the top level
    file_name  file name without folders
    read       function that returns the content, or raises UnreadableFile
    """

    label: str
    folder: str
    file_name: str
    read: Callable[[], bytes]


class Listing:
    """The files of a source.

    title    name of the source in messages
    members  files with the suffix of an image
    skipped  label -> reason, for image files that must not be read
    ignored  number of all other files
    """

    def __init__(self, title: str):
        self.title = title
        self.members: list[Member] = []
        self.skipped: dict[str, str] = {}
        self.ignored = 0
        self._num_files = 0
        self._label_counts: Counter[str] = Counter()

    def add(self, parts: Iterable[str], read: Callable[[], bytes], problem: str | None = None) -> None:
        """Add a file by its folders and name; a `problem` is the reason why an image must not be read.

        Raises BadInput if there are too many files.
        """
        self._num_files += 1
        if self._num_files > MAX_FILES:
            raise too_many_files(self.title)
        *folders, file_name = names.safe_parts(parts) or ("",)
        if not file_name or names.is_hidden([*folders, file_name]):
            return
        suffix = names.suffix(file_name)
        if suffix in names.OTHER_IMAGE_SUFFIXES:
            problem = f"{suffix.upper()} images are not supported. Save the image as PNG or JPEG."
        elif suffix in names.ARCHIVE_SUFFIXES:
            problem = "Archives inside the source are not read. Unpack it first."
        elif suffix not in names.IMAGE_SUFFIXES:
            self.ignored += 1
            return
        if problem:
            self.skip([*folders, file_name], problem)
        else:
            folder = names.shorten(folders[-1], names.MAX_FOLDER) if folders else ""
            self.members.append(Member(self._label((*folders, file_name)), folder, file_name, read))

    def skip(self, parts: Iterable[str], reason: str) -> None:
        """Add a file or folder that is not read, with the reason."""
        self.skipped[self._label(names.safe_parts(parts))] = reason

    def _label(self, parts: tuple[str, ...]) -> str:
        """Return the parts joined by slashes, with a number if this label is already used."""
        label = base = names.shorten("/".join(parts), names.MAX_LABEL) or "no name"
        while self._label_counts[label]:
            self._label_counts[base] += 1
            label = f"{base} ({self._label_counts[base]})"
        self._label_counts[label] += 1
        return label


def too_many_files(title: str) -> BadInput:
    """Return the error for a source with more than MAX_FILES files."""
    return BadInput(f"{title} contains more than {MAX_FILES:,} files. Split it into parts.")


MAX_FILE_BYTES = 100_000_000
CHUNK_BYTES = 1 << 18
TOO_LARGE = f"The file is larger than {MAX_FILE_BYTES // 1_000_000} MB. Make it smaller."
NOT_A_REGULAR_FILE = "Not a regular file. Replace it with an image."
LINK_TO_FOLDER = "A symbolic link to a folder is not followed. Replace it with the folder itself."
LINK_OUTSIDE = "The symbolic link points outside the folder. Replace it with the image itself."
BROKEN_LINK = "The symbolic link is broken. Replace it with the image itself."


def list_folder(root: Path) -> Listing:
    """List the files of a folder recursively. Symbolic links are read only if they point to a file inside the folder.

    Raises BadInput if the folder cannot be opened, or contains too many files.
    """
    listing, real_root = Listing(names.safe(root.name)), os.path.realpath(root)
    folders: list[tuple[str, ...]] = [()]
    while folders:
        parts = folders.pop()
        try:
            with os.scandir(os.path.join(root, *parts)) as iterator:
                entries = sorted(islice(iterator, MAX_FILES + 1), key=lambda entry: entry.name)
            for entry in entries:
                _add_entry(listing, folders, (*parts, entry.name), entry, real_root)
        except OSError as error:
            if not parts:
                raise BadInput(
                    f"The folder {root} cannot be opened ({error.strerror}). Change its permissions."
                ) from error
            listing.skip(parts, reason_for(error))
    return listing


def _add_entry(
    listing: Listing, folders: list[tuple[str, ...]], parts: tuple[str, ...], entry: os.DirEntry, real_root: str
) -> None:
    """Add an entry of a folder to the listing, or to `folders` if it is a folder."""
    if names.is_hidden([entry.name]):
        return
    if entry.is_symlink():
        target = os.path.realpath(entry.path)
        if os.path.isdir(target):
            listing.skip(parts, LINK_TO_FOLDER)
        elif not Path(target).is_relative_to(real_root):
            listing.add(parts, partial(read_file, target), LINK_OUTSIDE)
        else:
            listing.add(parts, partial(read_file, target), None if os.path.isfile(target) else BROKEN_LINK)
    elif entry.is_dir(follow_symlinks=False):
        folders.append(parts)
    else:
        problem = None if entry.is_file(follow_symlinks=False) else NOT_A_REGULAR_FILE
        listing.add(parts, partial(read_file, entry.path), problem)


def list_files(paths: Iterable[Path]) -> Listing:
    """List single files by their names, without their folders."""
    listing = Listing("The list")
    for path in paths:
        name = os.path.basename(os.path.abspath(path))
        if os.path.isdir(path):
            listing.skip([name], "A folder in a list of files is not read. Choose the folder alone.")
        elif os.path.isfile(path) or not os.path.exists(path):
            listing.add([name], partial(read_file, os.path.realpath(path)))
        else:
            listing.add([name], partial(read_file, str(path)), NOT_A_REGULAR_FILE)
    return listing


def read_file(path: str) -> bytes:
    """Return the content of a file. Raises UnreadableFile with the reason."""
    with readable(), open_file(path) as file:
        return read_all(file)


def open_file(path: str) -> io.BufferedReader:
    """Open a regular file for reading, without blocking if the path has become a pipe, device or link.

    Raises UnreadableFile if it is not a regular file, and OSError if it cannot be opened.
    """
    flags = ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY")  # no platform has all of them
    descriptor = os.open(path, os.O_RDONLY | sum(getattr(os, flag, 0) for flag in flags))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableFile(NOT_A_REGULAR_FILE)
    return os.fdopen(descriptor, "rb")


def read_all(file: IO[bytes]) -> bytes:
    """Return the whole content of a file, read in chunks because its stated size is not trusted.

    Raises UnreadableFile if it is empty or too large.
    """
    chunks, size = [], 0
    while chunk := file.read(CHUNK_BYTES):
        size += len(chunk)
        if size > MAX_FILE_BYTES:
            raise UnreadableFile(TOO_LARGE)
        chunks.append(chunk)
    if not chunks:
        raise UnreadableFile("The file is empty. Copy it again.")
    return b"".join(chunks)
