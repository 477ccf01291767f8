"""The scheduler of queued runs: starts the next one when a device is free. One process at a time holds its lock.

Each step is written to the queue's file before it is taken, so that a killed scheduler loses no run and its successor
starts none twice. The trainers outlive the scheduler.
"""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from diffusion_demo.errors import BadInput, first_line
from diffusion_demo.training import process
from diffusion_demo.training.event_reader import read_log
from diffusion_demo.training.queue import Entry, Queue, change_queue, read_queue
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.untrusted_files import read_regular

LOCK = ".scheduler.lock"
SECONDS = 1.0  # polling interval of the queue
MAX_ATTEMPTS = 3  # of a run whose trainer was killed together with the scheduler
MIN_MINUTES = 1.0  # the least time that such a run gets

Message = Callable[[str], None]


class RunScheduler:
    """Starts queued runs. Use it inside `holding_lock` only.

    Args:
        runs: The runs folder.
        per_device: Trainers that may run at once on each device.
        num_devices: Returns the number of devices to train on; called when a run waits.
        tell: Called with a sentence about each run that starts or ends.
    """

    def __init__(
        self,
        runs: Path,
        per_device: int = 1,
        num_devices: Callable[[], int] = lambda: 1,
        tell: Message = lambda text: None,
    ):
        self.runs, self.per_device, self.num_devices, self.tell = runs, per_device, num_devices, tell
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def recover(self) -> None:
        """Requeue the runs whose trainers were killed together with the last scheduler.

        They continue for the rest of their time budget.
        """

        def put_back(queue: Queue) -> Queue:
            for entry in queue.started:
                if not process.is_running(self._run(entry)) and self._was_interrupted(entry):
                    queue = self._retried(queue, entry)
            return queue

        change_queue(self.runs, put_back)

    def _retried(self, queue: Queue, entry: Entry) -> Queue:
        if entry.attempts >= MAX_ATTEMPTS:
            return queue.without(entry.run)
        run = self._run(entry)
        minutes = entry.max_minutes
        if minutes is not None and run.exists:
            minutes = max(MIN_MINUTES, minutes - self._elapsed_minutes(entry))
        again = replace(entry, waiting=True, resume=entry.resume or run.exists, max_minutes=minutes)
        return replace(queue, entries=(again, *queue.without(entry.run).entries))

    def _was_interrupted(self, entry: Entry) -> bool:
        """Return whether a trainer that has exited was killed, so that it left no first or no last event."""
        try:
            return not self._has_begun(entry) or read_log(self._run(entry).events_file).end is None
        except (OSError, ValueError):  # damaged, which the page shows
            return False

    def _has_begun(self, entry: Entry) -> bool:
        return count_events(self._run(entry)) > entry.num_events

    def _elapsed_minutes(self, entry: Entry) -> float:
        with suppress(OSError, ValueError):
            log = read_log(self._run(entry).events_file)
            if self._has_begun(entry) and log.start and log.by_kind["step"]:
                last = log.by_kind["step"][-1]
                if last["step"] > log.start["resumed_from"]:
                    return last["elapsed"] / 60
        return 0.0

    def step(self) -> Queue:
        """Remove the runs whose trainers have ended, start those that a device is free for, and return the queue."""
        queue = read_queue(self.runs)
        ended = [entry for entry in queue.started if self._has_ended(entry)]
        for entry in ended:
            queue = change_queue(self.runs, lambda queue, name=entry.run: queue.without(name))
            self._children.pop(entry.run, None)
            reason = "" if self._has_begun(entry) else process.last_log_line(self._run(entry))
            self.tell(f"{entry.run} has ended: {reason}" if reason else f"{entry.run} has ended.")
        if queue.waiting and not queue.paused:
            queue = self._start_next(queue)
        return queue

    def _has_ended(self, entry: Entry) -> bool:
        child = self._children.get(entry.run)
        return child.poll() is not None if child else not process.is_running(self._run(entry))

    def _start_next(self, queue: Queue) -> Queue:
        """Start waiting runs, the first one first, while a device is free."""
        while queue.waiting and (device := self._free_device(queue)) is not None:
            name = queue.waiting[0].run
            queue = change_queue(self.runs, lambda queue, name=name, device=device: self._mark(queue, name, device))
            entry = queue.find(name)
            if entry is None or entry.waiting:
                return queue  # it was moved or removed meanwhile
            try:
                self._children[name] = self._launch(entry)
            except (OSError, BadInput) as error:
                queue = change_queue(self.runs, lambda queue, entry=entry: queue.with_entry(_waiting_again(entry)))
                raise BadInput(
                    f"Cannot start {name} ({first_line(error)}). Check its run folder and the free disk space."
                ) from error
            self.tell(f"{name} has started.")
        return queue

    def _mark(self, queue: Queue, name: str, device: int) -> Queue:
        """Return the queue with the first waiting entry marked as started, unless it is no longer `name`."""
        if queue.paused or not queue.waiting or queue.waiting[0].run != name:
            return queue
        entry = queue.waiting[0]
        marked = replace(
            entry,
            waiting=False,
            attempts=entry.attempts + 1,
            num_events=count_events(self._run(entry)),
            device=device if self.num_devices() > 1 else None,
        )
        return replace(queue, entries=(*queue.started, marked, *queue.waiting[1:]))

    def _free_device(self, queue: Queue) -> int | None:
        """Return the device with the fewest trainers, None if all are busy.

        Trainers that are not in the queue count as running on device 0.
        """
        counts = [0] * max(1, self.num_devices())
        for entry in queue.started:
            counts[min(entry.device or 0, len(counts) - 1)] += 1
        known = {entry.run for entry in queue.started}
        counts[0] += sum(name not in known for name in process.running_names(self.runs))
        device = min(range(len(counts)), key=counts.__getitem__)
        return device if counts[device] < self.per_device else None

    def _launch(self, entry: Entry) -> subprocess.Popen[bytes]:
        run, budget = self._run(entry), process.budget_arguments(entry.max_minutes, entry.max_steps)
        variables = {} if entry.device is None else {"CUDA_VISIBLE_DEVICES": str(entry.device)}
        start = process.resume_arguments if entry.resume else process.start_arguments
        return process.launch(run, [*start(run), *budget], variables)

    def _run(self, entry: Entry) -> RunFolder:
        return RunFolder(self.runs / entry.run)


def _waiting_again(entry: Entry) -> Entry:
    return replace(entry, waiting=True, attempts=entry.attempts - 1)


def count_events(run: RunFolder) -> int:
    """Return the number of lines in events.jsonl, 0 without one. It grows when a trainer begins."""
    try:
        return read_regular(run.events_file).count(b"\n")
    except OSError:
        return 0


@contextmanager
def holding_lock(runs: Path) -> Iterator[bool]:
    """Hold the scheduler's lock, and yield whether it was free. The OS releases that of a killed process."""
    lock = FileLock(runs / LOCK)
    try:
        runs.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def schedule(
    scheduler: RunScheduler, wake: threading.Event, until: Callable[[Queue], bool] = lambda queue: False
) -> bool:
    """Run the scheduler until `until` is true of the queue. Return False at once if another process holds its lock.

    After an error, it calls `tell` and tries again. `wake` makes it look at the queue at once.
    """
    with holding_lock(scheduler.runs) as is_ours:
        if not is_ours:
            return False
        told, recovered = "", False
        while True:
            try:
                if not recovered:
                    scheduler.recover()
                    recovered = True
                if until(scheduler.step()):
                    return True
                told = ""
            except (BadInput, OSError) as error:
                if str(error) != told:
                    told = str(error)
                    scheduler.tell(told)
            wake.wait(SECONDS)
            wake.clear()
