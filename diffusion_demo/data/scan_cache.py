"""Results of a scan on the disk, so that an unchanged file is neither read nor decoded again."""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diffusion_demo.atomic import atomic_path
from diffusion_demo.data.file_errors import UNREADABLE
from diffusion_demo.data.listing import SourceFile, open_file
from diffusion_demo.data.report import Entry

# Increase when a scan finds something else in the same bytes: caches of another version are not used.
VERSION = 2
# File system timestamps are coarse: a file that was just written may change again with the same timestamp.
MIN_AGE_SECONDS = 2.0


class ScanCache:
    """Scan results of the images of a source, by label; each image is identified by its stamp.

    The file has one JSON line for each image. Instead of a damaged or missing one, the cache starts from the first of
    `others` that can be read, or empty.
    """

    def __init__(self, file: Path, others: Iterable[Path] = ()):
        self.file: Path = file
        self.hits: int = 0
        self._lines: dict[str, bytes] = _read_lines(file)
        # what another file knows is written to this one, too
        self._added: dict[str, bytes] = {} if self._lines else next(filter(None, map(_read_lines, others)), {})
        self._lines |= self._added

    def find(self, member: SourceFile, class_name: str) -> Entry | None:
        """Return the entry of an image that has not changed since it was added, else None."""
        line = self._lines.get(member.label)
        if line is None:
            return None
        try:
            _, stamp, *values = json.loads(line)
            if stamp != list(member.read.stamp()):
                return None
            entry = _make_entry(member.label, class_name, *values)
        except (*UNREADABLE, ValueError, TypeError, LookupError, RecursionError):
            return None
        self.hits += 1
        return entry

    def add(self, member: SourceFile, stamp: tuple[int, ...], entry: Entry) -> None:
        """Remember an entry. `stamp` is that of the image before it was read."""
        if time.time() - max(stamp[1], stamp[2]) / 1e9 > MIN_AGE_SECONDS:
            extremes = list(entry.extremes) if entry.extremes else None
            values = [
                entry.digest,
                entry.width,
                entry.height,
                entry.gray,
                entry.has_frames,
                entry.has_profile,
                extremes,
            ]
            self._added[member.label] = json.dumps([member.label, stamp, *values]).encode() + b"\n"

    def save(self) -> None:
        """Write the cache if anything was added. Raises OSError."""
        if not self._added:
            return
        self._lines |= self._added
        self._added = {}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.file) as temporary, temporary.open("wb") as file:
            file.write(json.dumps({"version": VERSION}).encode() + b"\n")
            file.writelines(self._lines.values())


def _read_lines(file: Path) -> dict[str, bytes]:
    """Return the lines of a cache file by label; none if it is damaged or missing."""
    try:
        with open_file(str(file)) as lines:
            if json.loads(next(lines, b"null")) == {"version": VERSION}:
                return {_label_of(line): line for line in lines}
    except (*UNREADABLE, ValueError, TypeError, LookupError, RecursionError):
        pass
    return {}


def _label_of(line: bytes) -> str:
    return json.loads(line[1 : line.index(b'", [') + 1])


def _make_entry(
    name: str,
    class_name: str,
    digest: Any,
    width: Any,
    height: Any,
    gray: Any,
    frames: Any,
    profile: Any,
    extremes: Any,
) -> Entry:
    """Return an entry. Raises ValueError or TypeError for values that are not those of a scan."""
    low_and_high = None if extremes is None else (float(extremes[0]), float(extremes[1]))
    kinds = [isinstance(digest, str), type(width) is int, type(height) is int]
    kinds += [type(flag) is bool for flag in (gray, frames, profile)]
    if not all(kinds) or width < 1 or height < 1 or len(digest) != 64:
        raise ValueError("another type")
    return Entry(name, class_name, digest, is_held_out(digest), width, height, gray, frames, profile, low_and_high)


def is_held_out(digest: str) -> bool:
    """Return whether an image belongs to the held-out part, a tenth, by its SHA-256. Raises ValueError."""
    return int(digest, 16) % 10 == 0
