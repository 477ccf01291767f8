"""All runs of this machine: which there are, who may look at them, and whether one more may start."""

import html
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.training.process import is_running
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.status import Status, read_status
from diffusion_demo.ui.server import disk_quota, limits, model_list, run_ownership
from diffusion_demo.ui.settings import settings

STATE_WORDS = {
    "empty": "Starting",
    "running": "Training",
    "finished": "Finished",
    "failed": "Stopped by an error",
    "interrupted": "Interrupted from outside",
    "refused": "Could not start",
    "damaged": "Damaged",
}
DAMAGED = "Its files in the folder below cannot be read; its models may still be there. Delete it, or mend them."

_starting = threading.Lock()


def all_names() -> list[str]:
    """The runs by name, newest first."""
    changed = {}
    for path in model_list.RUNS.glob("[!.]*/*"):
        if path.name in ("config.json", "trainer.log"):
            with suppress(OSError):  # deleted at this moment
                changed[path.parent.name] = path.parent.stat().st_ctime
    return sorted(changed, key=changed.get, reverse=True)


def names(held: object) -> list[str]:
    """Those that the browser which holds this secret may look at."""
    return [name for name in all_names() if run_ownership.sees(RunFolder(model_list.RUNS / name), held)]


def current(held: object) -> str | None:
    """The run that a person who comes (back) wants to see: the one that is training, one's own first, else the newest."""
    listed = sorted(names(held), key=lambda name: not run_ownership.owns(RunFolder(model_list.RUNS / name), held))
    training = (name for name in listed if status(RunFolder(model_list.RUNS / name)).state == "running")
    return next(training, next(iter(listed), None))


def called(name: str | None, held: object) -> RunFolder | None:
    """The run of a listed name: never a path that somebody sends."""
    return RunFolder(model_list.RUNS / name) if name in names(held) else None


def status(run: RunFolder) -> Status:
    """How the run stands; "damaged" where its files make no sense."""
    try:
        return read_status(run)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Status("damaged", message=DAMAGED)


def state_of(run: RunFolder, status: Status) -> str:
    """The status's state, or "refused" where a trainer was launched that went away without beginning."""
    return "refused" if status.state == "empty" and not is_running(run) else status.state


def is_busy(run: RunFolder) -> bool:
    """Is a trainer at work on it, or about to be?"""
    return status(run).state == "running" or is_running(run)


@contextmanager
def one_more() -> Iterator[None]:
    """Launch a trainer within. Raises a toast while as many runs as may be are being trained, or the disk is full; one person at a time."""
    with _starting:
        limits.check_training_is_on()
        if sum(is_busy(RunFolder(model_list.RUNS / name)) for name in all_names()) >= settings().runs_at_once:
            raise gr.Error("A training is going on already; stop it first, or wait for its end.", print_exception=False)
        try:
            disk_quota.check()
            yield
        except BadInput as error:
            raise gr.Error(str(error), print_exception=False) from error
        except OSError as error:
            raise gr.Error(
                f"Nothing can be written to the runs ({error.strerror or error}); make room there.",
                print_exception=False,
            ) from error


def table(held: object) -> str:
    """Every run that may be looked at, a row each."""
    rows = [_row(RunFolder(model_list.RUNS / name)) for name in names(held)]
    head = "<tr><th>Run</th><th></th><th>Steps</th><th>Images seen</th><th>Held-out loss</th><th>On disk</th></tr>"
    return (
        f'<div class="scrolling" tabindex="0"><table class="runs"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'
        if rows
        else ""
    )


def _row(run: RunFolder) -> str:
    found = status(run)
    loss = f"{min(event['loss'] for event in found.held_out):.4f}" if found.held_out else ""
    cells = [
        html.escape(run.path.name),
        STATE_WORDS[state_of(run, found)],
        f"{found.step:,}",
        f"{found.images_seen:,}",
        loss,
        f"{disk_quota.used(run.path) / 1e6:,.0f} MB",
    ]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
