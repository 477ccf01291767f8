"""Status of a run, read from its run folder alone, so that it survives a restart of the page."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import psutil

from diffusion_demo.training.event_reader import read_log
from diffusion_demo.training.pending_commands import pending_commands
from diffusion_demo.training.run_folder import RunFolder

State = Literal["empty", "running", "finished", "failed", "interrupted", "damaged"]


@dataclass(frozen=True)
class Status:
    """Status of a run.

    state         empty: no process has started it; running; finished: it reached its budget or was stopped;
                  failed: it ended with an error, given in `message`; interrupted: its process was killed;
                  damaged: its files cannot be read
    seconds_left  None without a budget to estimate it from
    memory        bytes of the training process; None unless it is running
    reason        why a finished run ended, as in its last event
    pending       commands that were sent to the trainer and that it has not carried out yet
    steps, held_out, previews, saved  events of these types, oldest first
    """

    state: State
    task: str = "diffusion"
    step: int = 0
    max_steps: int | None = None
    images_seen: int = 0
    images_per_second: float | None = None
    seconds_left: float | None = None
    memory: int | None = None
    message: str = ""
    reason: str = ""
    pending: frozenset[str] = frozenset()
    steps: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    held_out: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    previews: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    saved: tuple[dict[str, Any], ...] = field(default=(), repr=False)


def read_status(run: RunFolder) -> Status:
    """Return the current status of a run. Raises OSError when its files cannot be read.

    Raises ValueError, KeyError, TypeError or AttributeError when they are damaged.
    """
    log = read_log(run.events_file)
    if log.start is None:
        return Status("empty")
    start, end = log.start, log.end
    last = log.by_kind["step"][-1] if log.by_kind["step"] else {}
    process = None if end else _find_trainer(start["pid"])
    return Status(
        state=end["type"] if end else "running" if process else "interrupted",
        task=start.get("task", "diffusion"),
        step=last.get("step", start["resumed_from"]),
        max_steps=start["max_steps"],
        images_seen=last.get("images_seen", 0),
        images_per_second=last.get("images_per_second"),
        seconds_left=_seconds_left(start, last) if process and last.get("step", 0) > start["resumed_from"] else None,
        memory=_memory(process) if process else None,
        message=end.get("message", "") if end else "",
        reason=end.get("reason", "") if end else "",
        pending=pending_commands(run.control_file, log) if process else frozenset(),
        steps=tuple(log.by_kind["step"]),
        held_out=tuple(log.by_kind["held_out"]),
        previews=tuple(log.by_kind["preview"]),
        saved=tuple(log.by_kind["saved"]),
    )


def _find_trainer(pid: int) -> psutil.Process | None:
    """Return the training process with this id if it is alive; the OS may have reused the id for another program."""
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE and "diffusion_demo" in " ".join(process.cmdline())
    except (psutil.Error, ValueError, OverflowError):  # no process, or a number that no process has
        return None
    return process if alive else None


def _memory(process: psutil.Process) -> int | None:
    """Return the resident memory of a process in bytes; None if it has ended since it was found."""
    with suppress(psutil.Error):
        return process.memory_info().rss
    return None


def _seconds_left(start: dict[str, Any], last: dict[str, Any]) -> float | None:
    """Return the seconds until the first of the two budgets is spent, at the average speed of this call."""
    estimates = []
    if start["max_minutes"] is not None:
        estimates.append(60 * start["max_minutes"] - last["elapsed"])
    done = last["step"] - start["resumed_from"]
    if start["max_steps"] is not None and done > 0:
        estimates.append((start["max_steps"] - last["step"]) * last["elapsed"] / done)
    return max(0.0, min(estimates)) if estimates else None
