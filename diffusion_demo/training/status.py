"""What a run folder says of its run: read, never written, so that any page, after any crash, sees the same."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import psutil

from diffusion_demo.training.run_folder import RunFolder

STATES = ("empty", "running", "finished", "failed", "interrupted")


@dataclass(frozen=True)
class Status:
    """A run as it stands.

    state: empty (no trainer has begun) | running | finished (it ended well, by its budget or a stop) | failed (it said why, in
    message) | interrupted (the trainer is gone without a word, and can be resumed). seconds_left is None where no budget tells.
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
    steps: tuple[dict, ...] = field(default=(), repr=False)
    held_out: tuple[dict, ...] = field(default=(), repr=False)
    previews: tuple[dict, ...] = field(default=(), repr=False)
    saved: tuple[dict, ...] = field(default=(), repr=False)


def read_status(run: RunFolder) -> Status:
    """The run's status now. Raises OSError only when its files cannot be read."""
    events = _events(run.events_file, _size(run.events_file))
    starts = [event for event in events if event["type"] == "start"]
    if not starts:
        return Status("empty")
    start, lasting = starts[-1], _lasting(events)
    kept = {kind: tuple(e for e in lasting if e["type"] == kind) for kind in ("step", "held_out", "preview", "saved")}
    last = kept["step"][-1] if kept["step"] else {}
    ended = next((e for e in reversed(events[events.index(start) :]) if e["type"] in ("finished", "failed")), None)
    process = None if ended else _trainer(start["pid"])
    return Status(
        state=ended["type"] if ended else "running" if process else "interrupted",
        task=start.get("task", "diffusion"),
        step=last.get("step", start["resumed_from"]),
        max_steps=start["max_steps"],
        images_seen=last.get("images_seen", 0),
        images_per_second=last.get("images_per_second"),
        seconds_left=_seconds_left(start, last) if process and last else None,
        memory=process.memory_info().rss if process else None,
        message=ended.get("message", "") if ended else "",
        steps=kept["step"],
        held_out=kept["held_out"],
        previews=kept["preview"],
        saved=kept["saved"],
    )


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


@lru_cache(maxsize=16)
def _events(file: Path, size: int) -> list[dict]:
    """Every whole line of events.jsonl, read again when it has grown."""
    return RunFolder(file.parent).events()


def _lasting(events: list[dict]) -> list[dict]:
    """The events that no later start supersedes: a call that goes on from step n forgets what came after n."""
    lasting: list[dict] = []
    for event in events:
        if event["type"] == "start":
            lasting = [e for e in lasting if e.get("step", 0) <= event["resumed_from"]]
        lasting.append(event)
    return lasting


def _trainer(pid: int) -> psutil.Process | None:
    """The trainer with that number, if it is alive: a number may be another program's by now."""
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE and "diffusion_demo" in " ".join(process.cmdline())
    except psutil.Error:
        return None
    return process if alive else None


def _seconds_left(start: dict, last: dict) -> float | None:
    """What the nearer of its two budgets leaves, at the pace of this call."""
    left = []
    if start["max_minutes"] is not None:
        left.append(60 * start["max_minutes"] - last["elapsed"])
    done = last["step"] - start["resumed_from"]
    if start["max_steps"] is not None and done > 0:
        left.append((start["max_steps"] - last["step"]) * last["elapsed"] / done)
    return max(0.0, min(left)) if left else None
