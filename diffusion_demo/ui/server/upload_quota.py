"""Quota of temporary files: running totals of bytes and files, reserved before an upload is received."""

import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from starlette.exceptions import HTTPException

from diffusion_demo.errors import BadInput

FILES_PER_UPLOAD = 1000  # the most that Gradio accepts in one request
DISK_FULL = "The disk of the server is full. Try again later."
VISITOR_FULL = "You have used too much space in the last hour. Try again later."
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
    """Subtract the files that housekeeping has deleted from the totals."""
    for quota in _quotas:
        quota.release_deleted()


def check_room(visitor: str) -> None:
    """Raise BadInput if no more files may be written for a visitor."""
    for quota in _quotas:
        quota.check_room(visitor)


def count_written(visitor: str, paths: Iterable[str]) -> None:
    """Count the files that a handler has written for a visitor."""
    for quota in _quotas:
        quota.count_written(visitor, paths)


class UploadQuota:
    """Totals of all temporary files, by visitor: uploads, and what handlers have written.

    Args:
        folder: Where they are stored.
        max_bytes, max_files: Maximum of all visitors together.
        share: The part of both that one visitor may use.
        address_share: The part of both that the uploads of one address may use.
    """

    def __init__(self, folder: Path, max_bytes: int, max_files: int, share: float, address_share: float = 1.0):
        self.folder: Path = folder
        self.share: float = share
        self.address_share: float = address_share
        self.maximum: _Usage = _Usage(max_bytes, max_files)
        self._total, self._by_owner = _Usage(), dict[str, _Usage]()
        self._finished: dict[Path, tuple[tuple[str, ...], _Usage]] = {}
        self._lock = threading.Lock()
        _quotas[:] = [self]

    @contextmanager
    def reserve(self, visitor: str, count: int, address: str) -> Iterator[Reservation]:
        """Reserve `count` bytes and FILES_PER_UPLOAD files for the block, then keep what it says it used.

        Raises HTTPException if the disk, the quota or the share of the visitor or the address is full.
        """
        reserved, reservation = _Usage(count, FILES_PER_UPLOAD), Reservation()
        owners = (visitor, _all_of(address))
        with self._lock:
            self._check(owners, reserved)
            self._add(owners, reserved, 1)
        try:
            yield reservation
        finally:
            with self._lock:
                self._add(owners, reserved, -1)
                if reservation.folder is not None:
                    self._add(owners, reservation.used, 1)
                    self._finished[reservation.folder] = (owners, reservation.used)

    def count_written(self, visitor: str, paths: Iterable[str]) -> None:
        """Count the files at these paths that are in the folder and not counted yet."""
        for path in map(Path, paths):
            if path in self._finished or not path.is_relative_to(self.folder):
                continue
            try:
                used = _Usage(path.stat().st_size, 1)
            except OSError:
                continue
            with self._lock:
                if path not in self._finished and not any(folder in self._finished for folder in path.parents):
                    self._add((visitor,), used, 1)
                    self._finished[path] = ((visitor,), used)

    def check_room(self, visitor: str) -> None:
        """Raise BadInput if the quota or the visitor's share of it is used up."""
        with self._lock:
            own = self._by_owner.get(visitor, _Usage())
            if not _fits(self._total, _Usage(), self.maximum, 1.0):
                raise BadInput(DISK_FULL)
            if not _fits(own, _Usage(), self.maximum, self.share):
                raise BadInput(VISITOR_FULL)

    def release_deleted(self) -> None:
        """Subtract the files that housekeeping has deleted from the totals. Call it after each deletion."""
        with self._lock:
            for path in [path for path in self._finished if not os.path.exists(path)]:
                owners, used = self._finished.pop(path)
                self._add(owners, used, -1)

    def _check(self, owners: tuple[str, str], reserved: _Usage) -> None:
        free = shutil.disk_usage(self.folder).free - reserved.bytes
        if free < MIN_FREE_DISK_BYTES or not _fits(self._total, reserved, self.maximum, 1.0):
            raise HTTPException(507, DISK_FULL)
        for owner, share in zip(owners, (self.share, self.address_share), strict=True):
            if not _fits(self._by_owner.get(owner, _Usage()), reserved, self.maximum, share):
                raise HTTPException(429, VISITOR_FULL)

    def _add(self, owners: tuple[str, ...], usage: _Usage, sign: int) -> None:
        used = {owner: self._by_owner.setdefault(owner, _Usage()) for owner in owners}
        for total in (self._total, *used.values()):
            total.add(sign * usage.bytes, sign * usage.files)
        for owner, total in used.items():
            if total == _Usage():
                del self._by_owner[owner]


def _all_of(address: str) -> str:
    """Return the key under which all visitors of an address count together. It is not the key of any visitor."""
    return f"all of {address}"


def _fits(used: _Usage, reserved: _Usage, maximum: _Usage, share: float) -> bool:
    bytes_left = share * maximum.bytes - used.bytes - reserved.bytes
    return bytes_left >= 0 and used.files + reserved.files <= share * maximum.files
