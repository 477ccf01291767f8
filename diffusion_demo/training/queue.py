"""The queue of training runs: one file in the runs folder, which the page, the command line and the scheduler share.

An entry stays in the file until its trainer has ended, so that a restarted scheduler knows what it had started.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from diffusion_demo.atomic import atomic_write, created_folder
from diffusion_demo.errors import BadInput
from diffusion_demo.training.process import is_running, write_settings
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.untrusted_files import read_json

FILE, LOCK = ".queue.json", ".queue.lock"
MAX_ENTRIES = 100
LOCK_SECONDS = 20.0  # a holder rewrites one small file


@dataclass(frozen=True)
class Entry:
    """A run that waits for its trainer, or whose trainer has been started and not been seen to end.

    run          name of its folder in the runs folder
    resume       continue the run, rather than start it
    max_minutes  time budget of the call, or None
    max_steps    step budget of the run, or None
    attempts     how often a trainer was started for it
    waiting      whether no trainer was started, or it has to be started again
    num_events   lines in events.jsonl when that trainer was started
    device       index of the GPU that the trainer may use; None where there is none to choose
    """

    run: str
    resume: bool
    max_minutes: float | None
    max_steps: int | None = None
    attempts: int = 0
    waiting: bool = True
    num_events: int = 0
    device: int | None = None


@dataclass(frozen=True)
class Queue:
    """The entries in the order in which they start, and whether starts are paused."""

    entries: tuple[Entry, ...] = ()
    paused: bool = False

    @property
    def waiting(self) -> tuple[Entry, ...]:
        """The entries whose trainer was not started yet."""
        return tuple(entry for entry in self.entries if entry.waiting)

    @property
    def started(self) -> tuple[Entry, ...]:
        """The entries whose trainer was started."""
        return tuple(entry for entry in self.entries if not entry.waiting)

    def find(self, run: str) -> Entry | None:
        """Return the entry of a run, or None."""
        return next((entry for entry in self.entries if entry.run == run), None)

    def with_entry(self, changed: Entry) -> "Queue":
        """Return the queue with the entry of the same run replaced."""
        return replace(self, entries=tuple(changed if entry.run == changed.run else entry for entry in self.entries))

    def without(self, run: str) -> "Queue":
        """Return the queue without the entry of a run."""
        return replace(self, entries=tuple(entry for entry in self.entries if entry.run != run))


_adapter = TypeAdapter(Queue)


def read_queue(runs: Path) -> Queue:
    """Return the queue of a runs folder. Raises BadInput if its file is damaged."""
    try:
        content = read_json(runs / FILE)
        queue = _adapter.validate_python(content)
        if any(Path(entry.run).name != entry.run or entry.run in ("", "..") for entry in queue.entries):
            raise ValueError("a run is not the name of a folder")
        return queue
    except FileNotFoundError:
        return Queue()
    except OSError as error:
        reason = error.strerror or error
        raise BadInput(f"Cannot read {runs / FILE} ({reason}). Check the permissions of the runs folder.") from error
    except (ValueError, ValidationError, TypeError) as error:
        raise BadInput(f"The queue of runs cannot be read. Delete {runs / FILE} to empty it.") from error


@contextmanager
def _locked(runs: Path) -> Iterator[None]:
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with FileLock(runs / LOCK, timeout=LOCK_SECONDS):
            yield
    except Timeout as error:
        raise BadInput("The queue of runs is in use by another process. Try again.") from error


def change_queue(runs: Path, change: Callable[[Queue], Queue]) -> Queue:
    """Replace the queue with the result of `change`, atomically, and return the new one.

    Raises BadInput if the file is damaged, OSError if it cannot be written, and what `change` raises.
    """
    with _locked(runs):
        old = read_queue(runs)
        new = change(old)
        if new != old:
            atomic_write(runs / FILE, json.dumps(asdict(new), indent=2) + "\n")
        return new


def add_new(
    runs: Path, name: str, settings: dict[str, Any], max_minutes: float | None, max_steps: int | None = None
) -> Queue:
    """Queue a new run with these settings of TrainConfig, which its folder keeps until it starts.

    Raises BadInput if there is such a run already, or the queue is full.
    """
    run = RunFolder(runs / name)

    def append(queue: Queue) -> Queue:
        if run.exists or queue.find(name):
            raise BadInput(f"A run named {name} already exists. Choose another name.")
        _check_space(queue)
        with created_folder(run.path):
            write_settings(run, settings)
        return replace(queue, entries=(*queue.entries, Entry(name, False, max_minutes, max_steps)))

    return change_queue(runs, append)


def add_resumed(runs: Path, name: str, max_minutes: float | None, max_steps: int | None = None) -> Queue:
    """Queue the continuation of a run. Raises BadInput if it cannot be read, is being trained, or is queued already."""
    run = RunFolder(runs / name)
    run.read_config()

    def append(queue: Queue) -> Queue:
        entry = queue.find(name)
        if entry is not None and entry.waiting:
            raise BadInput(f"The run {name} is already in the queue.")
        if is_running(run):
            raise BadInput(f"The run {name} is being trained. Stop it first, or wait for it to end.")
        queue = queue.without(name)  # its trainer has ended
        _check_space(queue)
        return replace(queue, entries=(*queue.entries, Entry(name, True, max_minutes, max_steps)))

    return change_queue(runs, append)


def _check_space(queue: Queue) -> None:
    if len(queue.entries) >= MAX_ENTRIES:
        raise BadInput(f"The queue holds {MAX_ENTRIES} runs, which is the maximum. Remove one first.")


def _waiting_entry(queue: Queue, name: str) -> Entry:
    entry = queue.find(name)
    if entry is None:
        raise BadInput(f"There is no run {name} in the queue.")
    if not entry.waiting:
        raise BadInput(f"The run {name} has started. Stop it instead.")
    return entry


def remove(runs: Path, name: str) -> Queue:
    """Remove a waiting run from the queue. Raises BadInput if it does not wait there.

    The folder of a new run remains; deleting it is up to the caller.
    """

    def take_out(queue: Queue) -> Queue:
        _waiting_entry(queue, name)
        return queue.without(name)

    return change_queue(runs, take_out)


def move_up(runs: Path, name: str) -> Queue:
    """Move a waiting run one place up; the first one stays. Raises BadInput if it does not wait in the queue."""

    def swap(queue: Queue) -> Queue:
        waiting = list(queue.waiting)
        place = waiting.index(_waiting_entry(queue, name))
        if place:
            waiting[place - 1], waiting[place] = waiting[place], waiting[place - 1]
        return replace(queue, entries=(*queue.started, *waiting))

    return change_queue(runs, swap)


def set_paused(runs: Path, paused: bool) -> Queue:
    """Pause or resume the queue. A run that is being trained is not affected."""
    return change_queue(runs, lambda queue: replace(queue, paused=paused))
