"""Status of a run, read from its run folder alone, so that it survives a restart of the page."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

from diffusion_demo.training.run_folder import RunFolder

STATES = ("empty", "running", "finished", "failed", "interrupted")


@dataclass(frozen=True)
class Status:
    """Status of a run.

    state         empty: no process has started it; running; finished: it reached its budget or was stopped;
                  failed: it ended with an error, given in `message`; interrupted: its process was killed
    seconds_left  None without a budget to estimate it from
    memory        bytes of the training process; None unless it is running
    steps, held_out, previews, saved  events of these types, oldest first
    """

    state: str
    task: str = "diffusion"
    step: int = 0
    max_steps: int | None = None
    images_seen: int = 0
    images_per_second: float | None = None
    seconds_left: float | None = None
    memory: int | None = None
    message: str = ""
    steps: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    held_out: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    previews: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    saved: tuple[dict[str, Any], ...] = field(default=(), repr=False)


def read_status(run: RunFolder) -> Status:
    """Return the current status of a run. Raises OSError when its files cannot be read."""
    events = _events(run.events_file, _size(run.events_file))
    starts = [event for event in events if event["type"] == "start"]
    if not starts:
        return Status("empty")
    start, current = starts[-1], _without_superseded(events)
    by_type = {
        name: tuple(e for e in current if e["type"] == name) for name in ("step", "held_out", "preview", "saved")
    }
    last = by_type["step"][-1] if by_type["step"] else {}
    end = next((e for e in reversed(events[events.index(start) :]) if e["type"] in ("finished", "failed")), None)
    process = None if end else _find_trainer(start["pid"])
    return Status(
        state=end["type"] if end else "running" if process else "interrupted",
        task=start.get("task", "diffusion"),
        step=last.get("step", start["resumed_from"]),
        max_steps=start["max_steps"],
        images_seen=last.get("images_seen", 0),
        images_per_second=last.get("images_per_second"),
        seconds_left=_seconds_left(start, last) if process and last else None,
        memory=process.memory_info().rss if process else None,
        message=end.get("message", "") if end else "",
        steps=by_type["step"],
        held_out=by_type["held_out"],
        previews=by_type["preview"],
        saved=by_type["saved"],
    )


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


@lru_cache(maxsize=16)
def _events(file: Path, size: int) -> list[dict]:
    """Return the events of events.jsonl; the size in the cache key invalidates the entry of a file that has grown."""
    return RunFolder(file.parent).events()


def _without_superseded(events: list[dict]) -> list[dict]:
    """Drop the events after step n that a later call, resumed from step n, has replaced."""
    current: list[dict] = []
    for event in events:
        if event["type"] == "start":
            current = [e for e in current if e.get("step", 0) <= event["resumed_from"]]
        current.append(event)
    return current


def _find_trainer(pid: int) -> psutil.Process | None:
    """Return the training process with this id if it is alive; the OS may have reused the id for another program."""
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE and "diffusion_demo" in " ".join(process.cmdline())
    except psutil.Error:
        return None
    return process if alive else None


def _seconds_left(start: dict, last: dict) -> float | None:
    """Return the seconds until the first of the two budgets is spent, at the average speed of this call."""
    estimates = []
    if start["max_minutes"] is not None:
        estimates.append(60 * start["max_minutes"] - last["elapsed"])
    done = last["step"] - start["resumed_from"]
    if start["max_steps"] is not None and done > 0:
        estimates.append((start["max_steps"] - last["step"]) * last["elapsed"] / done)
    return max(0.0, min(estimates)) if estimates else None
