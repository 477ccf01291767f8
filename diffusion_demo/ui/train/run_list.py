"""List of training runs: which exist, which a visitor may view, and whether another one may start."""

import html
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import gradio as gr

from diffusion_demo.training.process import is_running
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.status import Status, read_status
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.server import disk_quota, limits, model_list, run_ownership
from diffusion_demo.ui.settings import settings

STATE_LABELS = {
    "empty": "Starting",
    "running": "Training",
    "finished": "Finished",
    "failed": "Stopped by an error",
    "interrupted": "Interrupted from outside",
    "refused": "Could not start",
    "damaged": "Damaged",
}
DAMAGED_RUN = (
    "Cannot read the files of this run. Its models may be intact. "
    "Delete the run, or repair the files in the folder below."
)

_start_lock = threading.Lock()


def all_names() -> list[str]:
    """Return the names of all runs, newest first."""
    changed: dict[str, float] = {}
    for path in model_list.RUNS.glob("[!.]*/*"):
        if path.name in ("config.json", "trainer.log"):
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


@lru_cache(maxsize=256)
def _check_config(folder: Path, modified: int, size: int) -> None:
    """Raise BadInput if the config of a run is damaged. It is written once, so it is read once, too."""
    RunFolder(folder).read_config()


def state_of(run: RunFolder, status: Status) -> str:
    """Return the state of the status, or "refused" if a trainer was started and exited before the first step."""
    return "refused" if status.state == "empty" and not is_running(run) else status.state


def is_training(run: RunFolder) -> bool:
    """Return whether a trainer of this run is active or starting."""
    return status_or_damaged(run).state == "running" or is_running(run)


@contextmanager
def start_slot() -> Iterator[None]:
    """Allow the block to start a trainer. One block runs at a time.

    Raises gr.Error if training is disabled, the maximum number of runs is active, or the disk or its quota is full.
    """
    with _start_lock:
        limits.check_training_enabled()
        if sum(is_training(RunFolder(model_list.RUNS / name)) for name in all_names()) >= settings().runs_at_once:
            raise gr.Error("Training is already running. Stop it, or wait until it ends.", print_exception=False)
        try:
            with user_errors_as_toasts():
                disk_quota.check()
                yield
        except OSError as error:
            raise gr.Error(
                f"Cannot write to the runs folder ({error.strerror or error}). Free some disk space.",
                print_exception=False,
            ) from error


def runs_table(owner_token: object) -> str:
    """Return an HTML table of all runs that this visitor may view, or an empty string if there are none."""
    rows = [_table_row(RunFolder(model_list.RUNS / name)) for name in visible_names(owner_token)]
    if not rows:
        return ""
    head = "<tr><th>Run</th><th></th><th>Steps</th><th>Images seen</th><th>Held-out loss</th><th>On disk</th></tr>"
    table = f'<table class="runs"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<div class="scrolling" tabindex="0">{table}</div>'


def _table_row(run: RunFolder) -> str:
    run_status = status_or_damaged(run)
    cells = [
        html.escape(run.path.name),
        STATE_LABELS[state_of(run, run_status)],
        f"{run_status.step:,}",
        f"{run_status.images_seen:,}",
        f"{min(event['loss'] for event in run_status.held_out):.4f}" if run_status.held_out else "",
        f"{disk_quota.folder_size(run.path) / 1e6:,.0f} MB",
    ]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
