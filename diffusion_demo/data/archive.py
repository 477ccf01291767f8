"""Untrusted zip files, read member by member into memory.

Nothing is extracted to disk, and member names are never used as paths.
"""

import io
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from diffusion_demo.data import names
from diffusion_demo.data.file_errors import readable
from diffusion_demo.data.listing import (
    BYTES_PER_MEMBER,
    MAX_FILE_BYTES,
    NOT_A_REGULAR_FILE,
    TOO_LARGE,
    Listing,
    StoredFile,
    max_files_in_memory,
    open_file,
    read_all,
    too_many_files,
)
from diffusion_demo.errors import BadInput

MAX_TOTAL_BYTES = 20_000_000_000
DIRECTORY_BYTES = 400  # largest average size of an entry in a ZIP's central directory
LAST_LETTER, SHARP_S = 0xA5, 0xE1  # in code page 437; the letters with accents begin at 0x80
ENCRYPTED, UTF8 = 0x1, 0x800  # bits of ZipInfo.flag_bits
# zipfile bounds the output of a read for these methods only: 4 kB of bzip2 can expand to gigabytes in one read.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextmanager
def list_zip(path: Path) -> Iterator[Listing]:
    """List the members of a zip file, which can be read inside the block.

    Raises BadInput if the file is not a valid zip file, or too large.
    """
    name, max_files = names.safe(path.name), max_files_in_memory(BYTES_PER_MEMBER)
    try:
        file = _BoundedReader(open_file(os.path.realpath(path)).detach(), name, max_files)
    except OSError as error:
        raise BadInput(f"{path} cannot be opened ({error.strerror}). Change its permissions.") from error
    with file, _open_archive(file, name) as archive:
        members = [info for info in archive.infolist() if not info.filename.endswith(("/", "\\"))]
        # zipfile never returns more of a member than its stated size, so this limits the number of bytes read.
        images = (info for info in members if names.suffix(info.filename) in names.IMAGE_SUFFIXES)
        if sum(info.file_size for info in images if not _problem(info)) > MAX_TOTAL_BYTES:
            raise BadInput(
                f"{name} unpacks to more than {MAX_TOTAL_BYTES // 1_000_000_000} GB. Unpack it and choose the folder."
            )
        listing, stamp = Listing(name, max_files), StoredFile(os.path.realpath(path)).stamp()
        for info in members:
            listing.add(names.split_member_name(_member_name(info)), _Packed(archive, info, stamp), _problem(info))
        if guessed := sum(map(_is_guessed, members)):
            listing.notes.append(
                f"{guessed:,} names in {name} are not in UTF-8, so their encoding is guessed. "
                "Check the classes, or pack the images again with UTF-8 names."
            )
        yield listing


class _BoundedReader(io.BufferedReader):
    """A reader that refuses a zip file with too many entries.

    zipfile reads the whole central directory into memory and needs about a kilobyte for each entry.
    """

    def __init__(self, raw: io.RawIOBase, title: str, max_files: int):
        super().__init__(raw)
        self._title, self._max_files = title, max_files

    def read(self, size: int | None = -1) -> bytes:
        if (size or 0) > DIRECTORY_BYTES * self._max_files:
            raise too_many_files(self._title, self._max_files)
        data = super().read(size)
        if data.count(b"PK\x01\x02") > self._max_files:
            raise too_many_files(self._title, self._max_files)
        return data


def _open_archive(file: io.BufferedReader, name: str) -> zipfile.ZipFile:
    start = file.read(4)
    if not zipfile.is_zipfile(file) and not start.startswith(b"PK") and names.suffix(name) != "zip":
        raise BadInput(f"{name} is neither a folder nor a ZIP file of images. Choose one of these.")
    try:
        return zipfile.ZipFile(file)
    except BadInput:
        raise
    except Exception as error:  # zipfile raises more than BadZipFile for damaged files
        raise BadInput(f"{name} is damaged or not a ZIP file. Create or copy it again.") from error


def _member_name(info: zipfile.ZipInfo) -> str:
    """Return the name of a member, decoded as UTF-8 where possible.

    Many programs write UTF-8 without setting its flag, and zipfile then decodes the name as code page 437.
    """
    if not info.flag_bits & UTF8:
        try:
            return info.filename.encode("cp437").decode()
        except UnicodeError:
            pass
    return info.filename


def _is_guessed(info: zipfile.ZipInfo) -> bool:
    """Return whether a name is neither UTF-8 nor likely to be in code page 437, as zipfile decodes it.

    Names in GBK, Shift JIS or Windows-1252 then have signs that are rare in file names.
    """
    if info.flag_bits & UTF8 or info.filename.isascii() or _member_name(info) != info.filename:
        return False
    return any(code > LAST_LETTER and code != SHARP_S for code in info.filename.encode("cp437", "replace"))


def _problem(info: zipfile.ZipInfo) -> str | None:
    """Return the reason why a member must not be opened, or None."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "Symbolic links in a zip file are not followed. Pack the image itself."
    if kind not in (0, stat.S_IFREG):
        return NOT_A_REGULAR_FILE
    if info.flag_bits & ENCRYPTED:
        return "The file is password-protected. Pack it again without a password."
    if info.compress_type not in METHODS:
        return "The compression method is not supported. Pack the file again with the deflate method."
    return TOO_LARGE if info.file_size > MAX_FILE_BYTES else None


@dataclass(frozen=True, slots=True)
class _Packed:
    """The content of a member, which changes only if the zip file does."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    archive_stamp: tuple[int, ...]

    def __call__(self) -> bytes:
        with readable(), self.archive.open(self.info) as file:
            return read_all(file)

    def size(self) -> int:
        return self.info.file_size  # zipfile never returns more

    def stamp(self) -> tuple[int, ...]:
        return *self.archive_stamp, self.info.header_offset
