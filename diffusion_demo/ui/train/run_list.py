"""List of training runs: which exist, which a visitor may view, and in which state they are."""

from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from diffusion_demo.errors import BadInput
from diffusion_demo.training.process import LOG, SETTINGS, is_running
from diffusion_demo.training.queue import Queue, read_queue
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.status import Status, read_status
from diffusion_demo.ui.server import model_list, run_ownership

STATE_LABELS = {
    "queued": "In the queue",
    "empty": "Starting",
    "running": "Training",
    "stopping": "Stopping",
    "finished": "Finished",
    "stopped": "Stopped",
    "early_stopped": "Finished early",
    "failed": "Failed",
    "interrupted": "Interrupted",
    "refused": "Could not start",
    "damaged": "Damaged",
}
DAMAGED_RUN = (
    "Cannot read the files of this run. Its models may be intact. "
    "Delete the run, or repair the files in the folder below."
)


def all_names() -> list[str]:
    """Return the names of all runs, newest first."""
    changed: dict[str, float] = {}
    for path in model_list.RUNS.glob("[!.]*/*"):
        if path.name in ("config.json", LOG, SETTINGS):
            with suppress(OSError):  # deleted since the folder was listed
                changed[path.parent.name] = path.parent.stat().st_ctime
    return sorted(changed, key=lambda name: changed[name], reverse=True)


def visible_names(owner_token: object) -> list[str]:
    """Return the names of the runs that the browser with this token may view, newest first."""
    return [name for name in all_names() if run_ownership.can_view(RunFolder(model_list.RUNS / name), owner_token)]


def default_run(owner_token: object) -> str | None:
    """Return the name of the run to show first: one in training, else the newest. The visitor's own runs come first."""
    runs = [RunFolder(model_list.RUNS / name) for name in visible_names(owner_token)]
    runs.sort(key=lambda run: not run_ownership.owns(run, owner_token))
    training = (run for run in runs if status_or_damaged(run).state == "running")
    run = next(training, next(iter(runs), None))
    return run.path.name if run else None


def find_run(name: str | None, owner_token: object) -> RunFolder | None:
    """Return the run of this name if it is listed for this visitor. Paths are not accepted."""
    return RunFolder(model_list.RUNS / name) if name is not None and name in visible_names(owner_token) else None


def status_or_damaged(run: RunFolder) -> Status:
    """Return the status of a run, with the state "damaged" if its files are invalid."""
    try:
        status = read_status(run)
        if run.exists:
            stat = run.config_file.stat()
            _check_config(run.path, stat.st_mtime_ns, stat.st_size)
        return status
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Status("damaged", message=DAMAGED_RUN)


def read_queue_or_empty() -> Queue:
    """Return the queue of runs, an empty one if its file is damaged, which the scheduler reports."""
    try:
        return read_queue(model_list.RUNS)
    except BadInput:
        return Queue()


@lru_cache(maxsize=256)
def _check_config(folder: Path, modified: int, size: int) -> None:
    """Raise BadInput if the config of a run is damaged. It is written once, so it is read once, too."""
    RunFolder(folder).read_config()


def state_of(run: RunFolder, status: Status, queue: Queue) -> str:
    """Return the state of a run, a key of STATE_LABELS.

    Besides the states of `Status` there are "queued", "stopping", "stopped" and "early_stopped" (why it finished), and
    "refused": a trainer was started and exited before the first step.
    """
    entry = queue.find(run.path.name)
    if entry is not None and entry.waiting:
        return "queued"
    if status.state == "empty" and entry is None and not is_running(run):
        return "refused"
    if status.state == "running" and "stop" in status.pending:
        return "stopping"
    return status.reason if status.state == "finished" and status.reason in STATE_LABELS else status.state


def is_training(run: RunFolder) -> bool:
    """Return whether a trainer of this run is active or starting."""
    return status_or_damaged(run).state == "running" or is_running(run)
