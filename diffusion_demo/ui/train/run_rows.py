"""The list of runs as rows for run_list.js: state, facts and the actions that a visitor may take."""

import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any

from diffusion_demo.training.queue import Queue
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.status import Status
from diffusion_demo.ui.duration import duration
from diffusion_demo.ui.server import disk_quota, model_list, run_ownership
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import budget, queue_thread, run_list, run_queue

MAX_ENDED = 2000  # ended runs whose status is cached
ENDED = ("finished", "stopped", "early_stopped", "failed", "interrupted")


def rows(owner_token: object) -> dict[str, Any]:
    """Return the runs that this visitor may view, and the state of the queue.

    The runs in training come first, then the waiting ones in their order, then the others, newest first. With them come
    the times for which a run may be continued.
    """
    queue = run_list.read_queue_or_empty()
    waits = run_queue.seconds_until_start(queue) if queue.waiting else {}
    names = run_list.visible_names(owner_token)
    started = [name for name in names if name in {entry.run for entry in queue.started}]
    order = list(dict.fromkeys([*started, *waits, *names]))
    ordered = sorted(names, key=order.index)
    places = {name: place for place, name in enumerate(waits, start=1)}
    return {
        "runs": [_row(name, owner_token, queue, waits, places) for name in ordered],
        "durations": list(budget.available_durations()),
        "queue": {
            "waiting": len(queue.waiting),
            "paused": queue.paused,
            "may_pause": not settings().public,
            "problem": queue_thread.problem() if queue.waiting and not settings().public else "",
        },
    }


def is_busy(listed: dict[str, Any]) -> bool:
    """Return whether any run of these `rows` is training or queued, so that a new run has to wait."""
    return any(row["state"] in ("queued", "empty", "running", "stopping") for row in listed["runs"])


def _row(
    name: str, owner_token: object, queue: Queue, waits: dict[str, float | None], places: dict[str, int]
) -> dict[str, Any]:
    run = RunFolder(model_list.RUNS / name)
    status, is_owner = _status(run), run_ownership.owns(run, owner_token)
    state = run_list.state_of(run, status, queue)
    facts = []
    if state == "queued":
        facts.append(_waiting_words(places[name], waits[name], queue))
    if status.step and state not in ("running", "stopping"):  # the status line above shows that of a run in training
        facts.append(f"{status.step:,} step{'s' * (status.step != 1)}")
    if status.held_out:
        facts.append(f"validation loss {min(event['loss'] for event in status.held_out):.3g}")
    size = _megabytes(name, state, status.step if state not in ("running", "stopping") else 0, len(status.saved))
    facts += [f"{size:,.0f} MB"] if size >= 1 else []
    return {
        "name": name,
        "state": state,
        "label": run_list.STATE_LABELS[state],
        "facts": facts,
        "ended": _end_time(run) if state in ENDED else None,
        "actions": _actions(state, run, places.get(name), is_owner),
    }


_ended: OrderedDict[str, tuple[tuple[tuple[int, int, int], ...], Status]] = OrderedDict()
_lock = threading.Lock()


def _status(run: RunFolder) -> Status:
    """Return the status of a run with the last event of each kind only. Ended runs are read once."""
    try:
        stats = run.events_file.stat(), run.config_file.stat()
    except OSError:
        return run_list.status_or_damaged(run)
    mark, key = tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats), str(run.path)
    with _lock:
        known = _ended.get(key)
    if known is not None and known[0] == mark:
        return known[1]
    status = run_list.status_or_damaged(run)
    if status.state in ("finished", "failed", "damaged"):
        best = min(status.held_out, key=lambda event: event["loss"], default=None)
        status = replace(
            status, steps=(), previews=(), saved=status.saved[-1:], held_out=(best,) if best is not None else ()
        )
        with _lock:
            _ended[key] = (mark, status)
            while len(_ended) > MAX_ENDED:
                _ended.popitem(last=False)
    return status


def _end_time(run: RunFolder) -> float | None:
    """Return the time of the last event in seconds since the epoch, if there is one."""
    with suppress(OSError):
        return run.events_file.stat().st_mtime
    return None


def _waiting_words(place: int, wait: float | None, queue: Queue) -> str:
    order = f"number {place}"
    if queue.paused:
        return f"{order}, paused"
    if wait is None:
        return order
    return f"{order}, starts in about {duration(max(60, wait))}" if wait > 0 else f"{order}, starts next"


def _actions(state: str, run: RunFolder, place: int | None, is_owner: bool) -> list[str]:
    """Return the actions of a row, in the order in which they are shown."""
    if not is_owner:
        return []
    if state == "queued":
        return [*(["move_up"] if place and place > 1 else []), "remove"]
    if state in ("running", "stopping", "empty"):
        return ["export"] if run.latest() is not None else []
    can_continue = state in ENDED and run.latest() is not None
    return [*(["resume"] if can_continue else []), *(["export"] if run.exists else []), "rename", "delete"]


@lru_cache(maxsize=1024)
def _megabytes(name: str, state: str, step: int, num_saved: int) -> float:
    """Return the size of a run, measured again when one of the other arguments has changed."""
    return disk_quota.folder_size(model_list.RUNS / name) / 1e6
