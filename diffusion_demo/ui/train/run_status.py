"""Status of the selected run on the Train tab, and the commands that its trainer accepts."""

import html
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import checkpoint_name
from diffusion_demo.training import process
from diffusion_demo.training.process import last_log_line, send_command
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.status import Status
from diffusion_demo.ui.duration import duration
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.server import model_list, run_ownership
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import budget, plots, run_actions, run_list

NOT_A_DIFFUSION_MODEL = {
    "classifier": (
        "This model classifies images. To guide sampling with it, copy its classifier folder into the folder of a "
        "diffusion model."
    ),
    "upsampler": "This model enlarges images. On the Sample tab, open More settings and tick Upscale 2x.",
}
NO_RUN = "Nothing trained yet. Add images on the left and press Start."
NUM_OUTPUTS = 10  # of `poll`


@dataclass(frozen=True)
class Snapshot:
    """What the page shows of a run, stored to update only what has changed. `name` is None if no run is selected."""

    name: str | None
    state: str = ""
    step: int = 0
    num_previews: int = 0
    num_checkpoints: int = 0
    exists: bool = False
    line: str = ""
    compared_steps: tuple[tuple[str, int], ...] = ()


def resume(name: str | None, owner_token: object, duration: str | None) -> gr.Button:
    """Continue a run for the selected duration. Raises gr.Error if it cannot be continued."""
    run = run_actions.owned_run(name, owner_token)
    if not run.exists:
        raise gr.Error(run_actions.RUN_NOT_FOUND, print_exception=False)
    with user_errors_as_toasts():
        minutes = budget.parse_duration(duration)
    with run_list.start_slot():
        process.resume(run, minutes)
    return gr.Button(interactive=False)


def send(name: str | None, owner_token: object, command: str) -> gr.Button:
    """Send a command to the trainer of a run. The button stays disabled until the next poll."""
    run = run_actions.owned_run(name, owner_token)
    try:
        send_command(run, command)
    except OSError as error:
        raise gr.Error(
            f"Cannot send the command to the trainer ({error.strerror or error}). Free some disk space.",
            print_exception=False,
        ) from error
    return gr.Button(interactive=False)


def open_latest(name: str | None, owner_token: object) -> tuple[gr.Tabs, gr.Dropdown]:
    """Switch to the Sample tab and select the latest checkpoint of a run.

    Raises gr.Error if the run has no checkpoint, or its model does not generate images.
    """
    run = run_list.find_run(name, owner_token)
    latest = run.latest() if run else None
    if latest is None:
        raise gr.Error("This run has no saved model yet. Press Save now.", print_exception=False)
    with user_errors_as_toasts():
        task = load_metadata(latest).task
    if task != "diffusion":
        raise gr.Error(NOT_A_DIFFUSION_MODEL[task], print_exception=False)
    model, choices = checkpoint_name(latest), model_list.model_choices()
    if model not in dict(choices).values():
        choices = [*choices, (model, model)]
    return gr.Tabs(selected="sample"), gr.Dropdown(choices, value=model)


def poll(name: str | None, others: list[str] | None, owner_token: object, shown: Snapshot | None) -> list:
    """Return the status of a run and its losses next to those of `others`.

    `shown` is the snapshot of the last call; outputs that have not changed since are skipped.
    """
    run = run_list.find_run(name, owner_token)
    if run is None:
        return _no_run(shown)
    status, is_owner = run_list.status_or_damaged(run), run_ownership.owns(run, owner_token)
    compared = _statuses(others or [], name, owner_token)
    snapshot = Snapshot(
        name,
        run_list.state_of(run, status),
        status.step,
        len(status.previews),
        len(status.saved),
        run.exists,
        _status_line(run, status),
        tuple((other, other_status.step) for other, other_status in compared.items()),
    )
    if snapshot == shown:
        return [gr.skip()] * NUM_OUTPUTS
    return [
        snapshot,
        snapshot.line,
        *_changed_views(run, status, compared, snapshot, shown),
        *_buttons(run, snapshot, is_owner),
        gr.skip() if _same(snapshot, shown, "exists") else _command(run),
    ]


def _statuses(names: list[str], current: str | None, owner_token: object) -> dict[str, Status]:
    """Return the statuses of the runs to compare the current one with, by name."""
    runs = [run_list.find_run(name, owner_token) for name in names if name != current]
    return {run.path.name: run_list.status_or_damaged(run) for run in runs if run is not None}


def _same(snapshot: Snapshot, shown: Snapshot | None, *attributes: str) -> bool:
    """Return whether the page shows the same run with the same values of these attributes."""
    return shown is not None and all(
        getattr(snapshot, attribute) == getattr(shown, attribute) for attribute in ("name", *attributes)
    )


def _changed_views(
    run: RunFolder, status: Status, compared: dict[str, Status], snapshot: Snapshot, shown: Snapshot | None
) -> list:
    """Return the timeline and the curves, or gr.skip() for those that have not changed."""
    timeline = curves = gr.skip()
    if not _same(snapshot, shown, "num_previews"):
        timeline = plots.timeline(run.path, status, "First preview after 20 steps.")
    if not _same(snapshot, shown, "step", "compared_steps"):
        curves = _curves(run, status, compared)
    return [timeline, curves]


def _buttons(run: RunFolder, snapshot: Snapshot, is_owner: bool) -> list[gr.Button]:
    """Return the buttons below a run (stop, resume, open, preview, save), enabled where they apply."""
    running, has_checkpoint = is_owner and snapshot.state == "running", run.latest() is not None
    resumable = is_owner and snapshot.state in ("finished", "failed", "interrupted") and has_checkpoint
    return [gr.Button(interactive=enabled) for enabled in (running, resumable, has_checkpoint, running, running)]


def _no_run(shown: Snapshot | None) -> list:
    snapshot = Snapshot(None)
    if shown == snapshot:
        return [gr.skip()] * NUM_OUTPUTS
    return [snapshot, "", {"frames": [], "empty": NO_RUN}, {"views": []}, *[gr.Button(interactive=False)] * 5, ""]


def _curves(run: RunFolder, status: Status, compared: dict[str, Status]) -> dict[str, Any]:
    views = plots.curves(status)["views"]
    return {"views": [plots.comparison({run.path.name: status} | compared), *views] if compared else views}


def _command(run: RunFolder) -> str:
    with suppress(BadInput):  # the status line reports a damaged run
        return run.read_config()[2] if run.exists and not settings().public else ""
    return ""


def _status_line(run: RunFolder, status: Status) -> str:
    """Return one line of HTML with the state, progress, speed, remaining time and memory, and the run's folder."""
    state = run_list.state_of(run, status)
    parts = [f'<b class="state {state}">{run_list.STATE_LABELS[state]}</b>']
    if status.step:
        parts.append(f"step {status.step:,}" + (f" of {status.max_steps:,}" if status.max_steps else ""))
        parts.append(f"{status.images_seen:,} images seen in all")
    if state == "running":
        parts += [f"{status.images_per_second:.0f} images/s"] if status.images_per_second else []
        parts += [f"{duration(status.seconds_left)} left"] if status.seconds_left is not None else []
        parts += [f"{status.memory / 1e9:.1f} GB"] if status.memory else []
    if state in ("empty", "refused"):
        parts.append(html.escape(last_log_line(run)))
    if state == "interrupted":
        parts.append("killed, or out of memory. Press Continue training to take it up again")
    if status.message:
        parts.append(html.escape(status.message))
    folder = "" if settings().public else f'<p class="where">Saved in {html.escape(str(run.path))}</p>'
    return f'<p class="line">{" · ".join(filter(None, parts))}</p>{folder}'
