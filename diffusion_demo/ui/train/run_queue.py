"""The queue of runs on the page: who may add to it, how long a run waits, and what its owner may change."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.training import queue
from diffusion_demo.training.queue import Queue, read_queue
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.server import disk_quota, limits, model_list, run_ownership
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import queue_thread, run_list, uploads

# On a public page.
MAX_WAITING, MAX_WAITING_PER_VISITOR = 8, 2
NOT_ON_PUBLIC_PAGES = "The queue of a public page cannot be paused."


def add_new(name: str, run_settings: dict[str, Any], minutes: float, owner_token: object) -> None:
    """Queue a new run of this visitor; it starts at once if no other run is trained.

    It takes over the scan of its images, so that the trainer need not scan again.
    Raises gr.Error if another run has this name, the page or the visitor has too many waiting runs, or the disk or its
    quota is full.
    """
    run = RunFolder(model_list.RUNS / name)

    def add() -> None:
        _reserve(run)
        try:
            run_ownership.claim(run, owner_token)
            uploads.hand_over_scan(run_settings.get("data", ""), run)
            queue.add_new(model_list.RUNS, name, run_settings, minutes)
        except BaseException:
            shutil.rmtree(run.path, ignore_errors=True)
            raise

    _add(add, owner_token)


def _reserve(run: RunFolder) -> None:
    """Create the folder of a new run. Raises BadInput if it exists, as when two visitors press Start at once."""
    try:
        run.path.mkdir(parents=True)
    except FileExistsError as error:
        raise BadInput(f"A run named {run.path.name} was started at the same time. Press Start again.") from error


def add_resumed(name: str, minutes: float, owner_token: object) -> None:
    """Queue the continuation of a run. Raises gr.Error as `add_new` does, and for a run that cannot be continued."""
    _add(lambda: queue.add_resumed(model_list.RUNS, name, minutes), owner_token)


def _add(add: Callable[[], object], owner_token: object) -> None:
    limits.check_training_enabled()
    with user_errors_as_toasts(), _write_errors_as_bad_input():
        disk_quota.check()
        _check_limits(owner_token)
        add()
    queue_thread.wake()


@contextmanager
def _write_errors_as_bad_input() -> Iterator[None]:
    """Convert an OSError inside the block, as on a full disk, to BadInput."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"Cannot write to the runs folder ({error.strerror or error}). Free some disk space.") from error


def _check_limits(owner_token: object) -> None:
    if not settings().public:
        return
    waiting = read_queue(model_list.RUNS).waiting
    if len(waiting) >= MAX_WAITING:
        raise BadInput("The queue of this page is full. Try again later, or run the program on your own machine.")
    own = sum(run_ownership.owns(RunFolder(model_list.RUNS / entry.run), owner_token) for entry in waiting)
    if own >= MAX_WAITING_PER_VISITOR:
        raise BadInput(f"You have {own} runs in the queue, which is the maximum on this page. Wait for one to start.")


def remove(name: str | None, owner_token: object) -> None:
    """Take a waiting run of this visitor out of the queue. A run that never started is deleted with it."""
    run = _owned(name, owner_token)
    _change(lambda: queue.remove(model_list.RUNS, run.path.name))
    if not run.exists:
        shutil.rmtree(run.path, ignore_errors=True)


def move_up(name: str | None, owner_token: object) -> None:
    """Move a waiting run of this visitor one place up, on a public page only past runs of their own."""
    run = _owned(name, owner_token)
    names = [entry.run for entry in _read().waiting]
    place = names.index(run.path.name) if run.path.name in names else 0
    if place and not run_ownership.owns(RunFolder(model_list.RUNS / names[place - 1]), owner_token):
        raise gr.Error("The run ahead of it belongs to another visitor.", print_exception=False)
    _change(lambda: queue.move_up(model_list.RUNS, run.path.name))


def pause() -> None:
    """Pause or resume the queue. Raises gr.Error on a public page."""
    if settings().public:
        raise gr.Error(NOT_ON_PUBLIC_PAGES, print_exception=False)
    _change(lambda: queue.set_paused(model_list.RUNS, not _read().paused))
    queue_thread.wake()


def _read() -> Queue:
    with user_errors_as_toasts():
        return read_queue(model_list.RUNS)


def _owned(name: str | None, owner_token: object) -> RunFolder:
    run = run_list.find_run(name, owner_token)
    if run is None:
        raise gr.Error("This run no longer exists.", print_exception=False)
    run_ownership.check_owner(run, owner_token)
    return run


def _change(change: Callable[[], object]) -> None:
    with user_errors_as_toasts(), _write_errors_as_bad_input():
        change()


def seconds_until_start(current: Queue) -> dict[str, float | None]:
    """Return for each waiting run the estimated seconds until it starts; None where a run before it has no time limit.

    Each run is assumed to use its whole time, and one to train at a time.
    """
    wait: float | None = 0.0
    for entry in current.started:
        left = run_list.status_or_damaged(RunFolder(model_list.RUNS / entry.run)).seconds_left
        left = left if left is not None else _seconds(entry.max_minutes)
        wait = None if wait is None or left is None else wait + left
    waits = {}
    for entry in current.waiting:
        waits[entry.run] = wait
        own = _seconds(entry.max_minutes)
        wait = None if wait is None or own is None else wait + own
    return waits


def _seconds(minutes: float | None) -> float | None:
    return None if minutes is None else 60 * minutes
