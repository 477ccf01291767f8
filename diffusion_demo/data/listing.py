"""Listing of the image files in a folder or a list of files, before any file is read."""

import io
import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, Protocol

import psutil

from diffusion_demo.data import names
from diffusion_demo.data.file_errors import UnreadableFile, readable, reason_for
from diffusion_demo.errors import BadInput

MIN_FILES = 250_000  # always accepted; more if the memory suffices
BYTES_PER_FILE = 2_000  # of memory for the name, the listing and the report of one file
BYTES_PER_MEMBER = 3_000  # the same for a zip file, whose table of contents is in memory, too
MAX_MEMORY_SHARE = 0.25  # of the available memory, for the listing and the report


class _Limit:
    """Limits of a source on a page for strangers."""

    files: int | None = None  # None where memory alone limits them
    label_bytes: int = 200_000_000  # of all label files


def limit_files(count: int, label_bytes: int) -> None:
    """Let a source hold at most this many files and bytes of label files, whatever the memory.

    A page needs it, because strangers upload, and a label file of a megabyte needs twenty when it is read.
    """
    _Limit.files, _Limit.label_bytes = count, label_bytes


def max_label_bytes() -> int:
    """Return the maximum total size of the label files in bytes."""
    return _Limit.label_bytes


def max_files_in_memory(bytes_per_file: int = BYTES_PER_FILE) -> int:
    """Return how many files a source may hold: those for which the available memory suffices, at least MIN_FILES."""
    available = psutil.virtual_memory().available
    return _Limit.files or max(MIN_FILES, int(MAX_MEMORY_SHARE * available / bytes_per_file))


class Content(Protocol):
    """The content of a file, which is read when it is called."""

    def __call__(self) -> bytes: ...

    def size(self) -> int: ...

    def stamp(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class StoredFile:
    """The content of a file on the disk."""

    path: str

    def __call__(self) -> bytes:
        """Return the content. Raises UnreadableFile with the reason."""
        return read_file(self.path)

    def size(self) -> int:
        """Return the number of bytes. Raises OSError."""
        return os.stat(self.path).st_size

    def stamp(self) -> tuple[int, ...]:
        """Return what changes whenever the content does. Raises OSError.

        The time of the last change of inode or content, which no program can set back, detects a swap of two files.
        """
        status = os.stat(self.path)
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file with the suffix of an image, or without a suffix.

    label      unique name in the source, safe to show
    folders    names of the folders around it, from the outermost
    file_name  file name without folders
    read       function that returns the content, or raises UnreadableFile; its `stamp` identifies the content
    source     number of the source, where a listing has several
    """

    label: str
    folders: tuple[str, ...]
    file_name: str
    read: Content
    source: int = 0

    @property
    def path(self) -> str:
        """Return the folders and the file name, joined by slashes."""
        return "/".join((*self.folders, self.file_name))

    @property
    def is_guess(self) -> bool:
        """Return whether it has no suffix, so that it is an image only if its content is."""
        return not names.suffix(self.file_name)


class Listing:
    """The files of a source.

    title        name of the source in messages
    members      files with the suffix of an image, or without a suffix
    skipped      label -> reason, for image files that must not be read
    ignored      number of all other files by their suffix
    label_files  the files that may hold labels (names.LABEL_FILES)
    titles       names of the sources, where there are several
    notes        one sentence for each thing that the user should know about the names
    """

    def __init__(self, title: str, max_files: int | None = None):
        self.title: str = title
        self.max_files: int = max_files or max_files_in_memory()
        self.members: list[SourceFile] = []
        self.skipped: dict[str, str] = {}
        self.ignored: Counter[str] = Counter()
        self.label_files: list[SourceFile] = []
        self.titles: list[str] = []
        self.notes: list[str] = []
        self._num_files = 0
        self._label_counts: Counter[str] = Counter()

    def add(self, parts: Iterable[str], read: Content, problem: str | None = None) -> None:
        """Add a file by its folders and name; a `problem` is the reason why an image must not be read.

        Raises BadInput if there are too many files.
        """
        self._num_files += 1
        if self._num_files > self.max_files:
            raise too_many_files(self.title, self.max_files)
        *folders, file_name = names.safe_parts(parts) or ("",)
        if not file_name or names.is_hidden([*folders, file_name]):
            return
        suffix = names.suffix(file_name)
        if len(folders) > MAX_LEVELS:
            problem, folders = TOO_DEEP, folders[:1]
        if suffix in names.OTHER_IMAGE_SUFFIXES:
            problem = f"{suffix.upper()} images are not supported. Save the image as PNG or JPEG."
        elif suffix in names.ARCHIVE_SUFFIXES:
            problem = "An archive inside the source is not read. Unpack it first."
        elif file_name.lower() in names.LABEL_FILES and not problem:
            self.label_files.append(SourceFile("", tuple(folders), file_name, read))
            return
        elif suffix and suffix not in names.IMAGE_SUFFIXES:
            self.ignored[suffix] += 1
            return
        if problem and suffix:
            self.skip([*folders, file_name], problem)
        elif problem:
            self.ignored[""] += 1
        else:
            self.members.append(SourceFile(self._label((*folders, file_name)), tuple(folders), file_name, read))

    def absorb(self, other: "Listing") -> None:
        """Add everything in another listing, with new labels where they are already used."""
        self._num_files += other._num_files
        if self._num_files > self.max_files:
            raise too_many_files(self.title, self.max_files)
        source = len(self.titles)
        self.members += [replace(member, label=self._label((member.label,)), source=source) for member in other.members]
        self.skipped |= {self._label((label,)): reason for label, reason in other.skipped.items()}
        self.ignored += other.ignored
        self.label_files += [replace(member, source=source) for member in other.label_files]
        self.titles.append(other.title)
        self.notes += other.notes

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


def too_many_files(title: str, max_files: int) -> BadInput:
    """Return the error for a source with more than `max_files` files."""
    return BadInput(f"{title} contains more than {max_files:,} files. Split it into parts.")


MAX_LEVELS = 100  # deepest nesting of folders
TOO_DEEP = f"It is more than {MAX_LEVELS} folders deep. Move it up."
MAX_FILE_BYTES = 100_000_000
CHUNK_BYTES = 1 << 18
TOO_LARGE = f"The file is larger than {MAX_FILE_BYTES // 1_000_000} MB. Make it smaller."
NOT_A_REGULAR_FILE = "Not a regular file. Replace it with an image."
LINK_TO_FOLDER = "A symbolic link to a folder is not followed. Replace it with the folder itself."
LINK_OUTSIDE = "The symbolic link points outside the folder. Replace it with the image itself."
BROKEN_LINK = "The symbolic link is broken. Replace it with the image itself."
# The same names as in training.run_folder, which this package may not import.
RUN_FILES, RUN_FOLDERS = {"config.json", "events.jsonl"}, {"samples", "checkpoints", "cache"}


def list_folder(root: Path) -> Listing:
    """List the files of a folder recursively. Symbolic links are read only if they point to a file inside the folder.

    Files written by a training run are left out. Otherwise a run in the folder of its own images could not be resumed.
    Raises BadInput if the folder cannot be opened, or contains too many files.
    """
    listing, real_root = Listing(names.safe(root.name)), os.path.realpath(root)
    folders: list[tuple[str, ...]] = [()]
    while folders:
        parts = folders.pop()
        try:
            with os.scandir(os.path.join(root, *parts)) as iterator:
                entries = sorted(islice(iterator, listing.max_files + 1), key=lambda entry: entry.name)
            for entry in _without_run(listing, entries, parts):
                _add_entry(listing, folders, (*parts, entry.name), entry, real_root)
        except OSError as error:
            if not parts:
                raise BadInput(
                    f"The folder {root} cannot be opened ({error.strerror}). Change its permissions."
                ) from error
            listing.skip(parts, reason_for(error))
    return listing


def _without_run(listing: Listing, entries: list[os.DirEntry], parts: tuple[str, ...]) -> list[os.DirEntry]:
    """Return the entries of a folder without those of a training run in it."""
    found = {entry.name for entry in entries}
    if not found >= RUN_FILES or not RUN_FOLDERS & found:
        return entries
    label = "/".join(names.safe_parts(parts)) or listing.title
    listing.notes.append(f"The folder {label} holds a training run, whose previews are not read.")
    return [entry for entry in entries if entry.name not in RUN_FILES | RUN_FOLDERS]


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
            listing.add(parts, StoredFile(target), LINK_OUTSIDE)
        else:
            listing.add(parts, StoredFile(target), None if os.path.isfile(target) else BROKEN_LINK)
    elif entry.is_dir(follow_symlinks=False):
        folders.append(parts)
    else:
        problem = None if entry.is_file(follow_symlinks=False) else NOT_A_REGULAR_FILE
        listing.add(parts, StoredFile(entry.path), problem)


def list_files(paths: Iterable[Path]) -> Listing:
    """List single files by their names, without their folders."""
    listing = Listing("The list")
    for path in paths:
        name = os.path.basename(os.path.abspath(path))
        if os.path.isdir(path):
            listing.skip([name], "A folder in a list of files is not read. Choose the folder alone.")
        elif os.path.isfile(path) or not os.path.exists(path):
            listing.add([name], StoredFile(os.path.realpath(path)))
        else:
            listing.add([name], StoredFile(str(path)), NOT_A_REGULAR_FILE)
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
