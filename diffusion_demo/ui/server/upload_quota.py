"""Quota of uploads: running totals of bytes and files, reserved before an upload is received."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from starlette.exceptions import HTTPException

FILES_PER_UPLOAD = 1000  # the most that Gradio accepts in one request
DISK_FULL = "The disk of the server is full. Try again later."
VISITOR_FULL = "You have uploaded too much in the last hour. Try again later."
MIN_FREE_DISK_BYTES = 200_000_000


@dataclass
class _Usage:
    bytes: int = 0
    files: int = 0

    def add(self, count: int, files: int) -> None:
        self.bytes += count
        self.files += files


@dataclass
class Reservation:
    """Space reserved for one upload. `keep` says how much of it the finished upload uses."""

    folder: Path | None = None
    used: _Usage = field(default_factory=_Usage)

    def keep(self, folder: Path, count: int, files: int) -> None:
        """Record the folder of a finished upload with its size in bytes and number of files."""
        self.folder, self.used = folder, _Usage(count, files)


_quotas: list["UploadQuota"] = []  # of the page that is served


def release_deleted() -> None:
    """Give back the space of uploads that housekeeping has deleted."""
    for quota in _quotas:
        quota.release_deleted()


class UploadQuota:
    """Totals of all uploads on the disk, by visitor.

    Args:
        folder: Where uploads are stored.
        max_bytes, max_files: Maximum of all visitors together.
        share: The part of both that one visitor may use.
    """

    def __init__(self, folder: Path, max_bytes: int, max_files: int, share: float):
        self.folder: Path = folder
        self.share: float = share
        self.maximum: _Usage = _Usage(max_bytes, max_files)
        self._total, self._by_visitor = _Usage(), dict[str, _Usage]()
        self._finished: dict[Path, tuple[str, _Usage]] = {}
        self._lock = threading.Lock()
        _quotas[:] = [self]

    @contextmanager
    def reserve(self, visitor: str, count: int) -> Iterator[Reservation]:
        """Reserve `count` bytes and FILES_PER_UPLOAD files for the block, then keep what it says it used.

        Raises HTTPException if the disk, the quota or the visitor's share of it is full.
        """
        reserved, reservation = _Usage(count, FILES_PER_UPLOAD), Reservation()
        with self._lock:
            self._check(visitor, reserved)
            self._add(visitor, reserved, 1)
        try:
            yield reservation
        finally:
            with self._lock:
                self._add(visitor, reserved, -1)
                if reservation.folder is not None:
                    self._add(visitor, reservation.used, 1)
                    self._finished[reservation.folder] = (visitor, reservation.used)

    def release_deleted(self) -> None:
        """Give back the space of uploads that housekeeping has deleted. Call it after each deletion."""
        with self._lock:
            for folder in [folder for folder in self._finished if not folder.exists()]:
                visitor, used = self._finished.pop(folder)
                self._add(visitor, used, -1)

    def _check(self, visitor: str, reserved: _Usage) -> None:
        own = self._by_visitor.get(visitor, _Usage())
        free = shutil.disk_usage(self.folder).free - reserved.bytes
        if free < MIN_FREE_DISK_BYTES or not _fits(self._total, reserved, self.maximum, 1.0):
            raise HTTPException(507, DISK_FULL)
        if not _fits(own, reserved, self.maximum, self.share):
            raise HTTPException(429, VISITOR_FULL)

    def _add(self, visitor: str, usage: _Usage, sign: int) -> None:
        own = self._by_visitor.setdefault(visitor, _Usage())
        for total in (self._total, own):
            total.add(sign * usage.bytes, sign * usage.files)
        if own == _Usage():
            del self._by_visitor[visitor]


def _fits(used: _Usage, reserved: _Usage, maximum: _Usage, share: float) -> bool:
    bytes_left = share * maximum.bytes - used.bytes - reserved.bytes
    return bytes_left >= 0 and used.files + reserved.files <= share * maximum.files
