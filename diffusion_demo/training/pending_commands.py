"""Commands in control.jsonl that a trainer has not carried out yet. The trainer reads only the type of a command."""

import os
from pathlib import Path
from typing import Any

from diffusion_demo.training.event_reader import EventReader, read_log
from diffusion_demo.untrusted_files import parse_json

RESULTS = {"sample_now": "preview", "save_now": "saved"}  # the event that a command causes
TAIL_BYTES = 20_000
REPORTED_STEPS = 10  # steps after which a command counts as executed, even if it failed


def run_state_at_command(events_file: Path) -> dict[str, Any]:
    """Return the state of a run when a command is sent. `pending` compares with it to tell if it was carried out."""
    try:
        log = read_log(events_file)
    except (OSError, ValueError):
        return {}
    if log.start is None:
        return {}
    return {"pid": log.start["pid"], "step": last_step(log), "counts": _counts(log)}


def last_step(log: EventReader) -> int:
    """Return the last reported step of a run, or the one that its call resumed from."""
    start = log.start["resumed_from"] if log.start else 0
    return max(start, *(event["step"] for event in log.by_kind["step"][-1:]), 0)


def _counts(log: EventReader) -> dict[str, int]:
    return {command: len(log.by_kind[kind]) for command, kind in RESULTS.items()}


def pending_commands(control_file: Path, log: EventReader) -> frozenset[str]:
    """Return the commands that were sent to the trainer of this log and that it has not carried out."""
    if log.start is None or log.end is not None:
        return frozenset()
    return frozenset(line["type"] for line in _tail(control_file) if _is_pending(line, log))


def _is_pending(line: Any, log: EventReader) -> bool:
    if not isinstance(line, dict) or log.start is None or line.get("pid") != log.start["pid"]:
        return False
    command, step, counts = line.get("type"), line.get("step"), line.get("counts")
    if command == "stop":
        return True
    if command not in RESULTS or not isinstance(step, int) or not isinstance(counts, dict):
        return False
    return counts.get(command) == _counts(log)[command] and last_step(log) < step + REPORTED_STEPS


def _tail(file: Path) -> list[Any]:
    """Return the last lines of a control.jsonl that are JSON."""
    try:
        if not os.path.isfile(file):
            return []
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - TAIL_BYTES))
            lines = stream.read(TAIL_BYTES).splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(parse_json(line))
        except ValueError:
            continue
    return found
