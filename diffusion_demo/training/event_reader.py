"""Incremental reader of the events of a run: each call parses only the lines that are new."""

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from diffusion_demo.training.events import check_event
from diffusion_demo.untrusted_files import parse_json

KINDS = ("step", "held_out", "preview", "saved")
MAX_LOGS = 16  # kept in memory


class EventReader:
    """The events of a run, without those that a later call has replaced.

    start    the last start event, or None
    end      the finished or failed event after it, or None
    by_kind  the events of each of KINDS, oldest first, without those after step n that a call resumed from step n
             has replaced
    """

    def __init__(self, file: Path):
        self._file = file
        self._forget()

    def _forget(self) -> None:
        self._offset, self._first_line, self._inode = 0, b"", None
        self.start: dict[str, Any] | None = None
        self.end: dict[str, Any] | None = None
        self.by_kind: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}

    def update(self) -> None:
        """Read the complete lines that are new; all lines if the file is not the one that was read before.

        Raises OSError if the file cannot be read, and ValueError for a line that is not an event.
        """
        if not os.path.exists(self._file):
            return self._forget()
        if not os.path.isfile(self._file):  # opening a pipe would wait for a writer forever
            raise OSError(f"{self._file.name} is not a regular file")
        with self._file.open("rb") as file:
            # The OS reuses inodes, so the first line, which holds the process id, is compared as well.
            inode, first_line = self._file.stat().st_ino, file.read(max(1, len(self._first_line)))
            size = file.seek(0, 2)
            if inode != self._inode or first_line != self._first_line or size < self._offset:
                self._forget()
            file.seek(self._offset)
            new = file.read()
            complete = new[: new.rfind(b"\n") + 1]
            if not complete:
                return None
            if not self._first_line:
                self._first_line = complete.splitlines(keepends=True)[0]
        try:
            for line in complete.splitlines():
                self._add(check_event(parse_json(line)))
        except BaseException:
            self._forget()
            raise
        self._offset, self._inode = self._offset + len(complete), inode

    def _add(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "start":
            self.start, self.end = event, None
            for name, earlier in self.by_kind.items():
                self.by_kind[name] = [e for e in earlier if e["step"] <= event["resumed_from"]]
        elif kind in ("finished", "failed"):
            self.end = event
        elif kind in self.by_kind:
            self.by_kind[kind].append(event)


_logs: OrderedDict[Path, EventReader] = OrderedDict()
_lock = threading.Lock()


def read_log(file: Path) -> EventReader:
    """Return a copy of the log of an events.jsonl, up to date. Raises as `EventReader.update` does."""
    with _lock:
        log = _logs.pop(file, None) or EventReader(file)
        log.update()
        _logs[file] = log
        while len(_logs) > MAX_LOGS:
            _logs.popitem(last=False)
        copy = EventReader(file)
        copy.start, copy.end = log.start, log.end
        copy.by_kind = {kind: list(events) for kind, events in log.by_kind.items()}
        return copy
