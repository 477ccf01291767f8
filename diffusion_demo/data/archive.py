"""Zips, which may be made to harm: read member by member into memory, nothing unpacked, no name in them used as a path."""

import io
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from diffusion_demo.data import names
from diffusion_demo.data.file_errors import readable
from diffusion_demo.data.listing import (
    MAX_FILE_BYTES,
    MAX_FILES,
    NO_FILE,
    TOO_LARGE,
    Listing,
    open_file,
    read_all,
    too_many,
)
from diffusion_demo.errors import BadInput

MAX_TOTAL_BYTES = 20_000_000_000
MAX_DIRECTORY_BYTES = 400 * MAX_FILES
ENCRYPTED, UTF8 = 0x1, 0x800  # bits of a member's flags
# The two methods that zipfile unpacks piece by piece: it takes in a whole piece of the others, and 4 kB of bzip2 can hold gigabytes.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextmanager
def open_zip(path: Path) -> Iterator[Listing]:
    """The members of a zip, readable until the end of the block. Raises BadInput for a file that is no zip, or too large a one."""
    name = names.safe(path.name)
    try:
        file = _Bounded(open_file(os.path.realpath(path)).detach(), name)
    except OSError as error:
        raise BadInput(f"{path} cannot be opened ({error.strerror}); change its permissions.") from error
    with file, _archive(file, name) as archive:
        members = [info for info in archive.infolist() if not info.filename.endswith(("/", "\\"))]
        # zipfile never gives more of a member than its stated size, so this bounds what will be read.
        if (
            sum(
                info.file_size for info in members if names.suffix(info.filename) in names.IMAGES and not _problem(info)
            )
            > MAX_TOTAL_BYTES
        ):
            raise BadInput(
                f"{name} unpacks to more than {MAX_TOTAL_BYTES // 1_000_000_000} GB; unpack it and give the folder."
            )
        listing = Listing(name)
        for info in members:
            listing.add(names.split(_name(info)), partial(_read, archive, info), _problem(info))
        yield listing


class _Bounded(io.BufferedReader):
    """A file that is not read when its list of contents is too long: zipfile holds that in memory whole, at a kilobyte a name."""

    def __init__(self, raw: io.RawIOBase, where: str):
        super().__init__(raw)
        self._where = where

    def read(self, size: int | None = -1) -> bytes:
        if (size or 0) > MAX_DIRECTORY_BYTES:
            raise too_many(self._where)
        data = super().read(size)
        if data.count(b"PK\x01\x02") > MAX_FILES:
            raise too_many(self._where)
        return data


def _archive(file: io.BufferedReader, name: str) -> zipfile.ZipFile:
    start = file.read(4)
    if not zipfile.is_zipfile(file) and not start.startswith(b"PK") and names.suffix(name) != "zip":
        raise BadInput(f"{name} is neither a folder nor a zip file of images; give one of these.")
    try:
        return zipfile.ZipFile(file)
    except BadInput:
        raise
    except Exception as error:  # damaged bytes bring out more than BadZipFile
        raise BadInput(f"{name} is a damaged zip file, perhaps cut off; make or copy it again.") from error


def _name(info: zipfile.ZipInfo) -> str:
    """A member's name; many programs write UTF-8 without saying so, and zipfile then reads it as DOS letters."""
    if not info.flag_bits & UTF8:
        try:
            return info.filename.encode("cp437").decode()
        except UnicodeError:
            pass
    return info.filename


def _problem(info: zipfile.ZipInfo) -> str | None:
    """Why a member is not even opened."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "It is a link, which is not followed in a zip; pack the image itself."
    if kind not in (0, stat.S_IFREG):
        return NO_FILE
    if info.flag_bits & ENCRYPTED:
        return "It is locked with a password; pack it again without one."
    if info.compress_type not in METHODS:
        return "It is packed by an unusual method; zip it again with the ordinary one (deflate)."
    return TOO_LARGE if info.file_size > MAX_FILE_BYTES else None


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with readable(), archive.open(info) as file:
        return read_all(file)
