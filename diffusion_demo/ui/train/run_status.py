"""Status of the selected run on the Train tab, and the commands that its trainer accepts."""

import html
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import checkpoint_name
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.process import last_log_line, send_command
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.status import Status
from diffusion_demo.ui.duration import duration
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.server import model_list, run_ownership
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import budget, expectations, plots, run_actions, run_list, run_queue, run_rows

NOT_A_DIFFUSION_MODEL = {
    "classifier": (
        "This model classifies images. To guide sampling with it, copy its classifier folder into the folder of a "
        "diffusion model."
    ),
    "upsampler": "This model enlarges images. On the Sample tab, open More settings and turn on Upscale 2x.",
}
LOADING = "Loading ..."
NO_RUN = "Nothing trained yet. Add your images in step 1, or use the sample images, and press Start."
NO_CHECKPOINT_YET = "This run has no checkpoint yet. Press Save now, and try again in a few seconds."
NO_CHECKPOINT = "This run has no checkpoint."
CHOOSE_RUN = "Choose a run from the list below."
FIRST_PREVIEW = "First preview after 20 steps."
IN_QUEUE = "Previews appear here once this run starts."
# Labels of the buttons, and what they say while the trainer has not carried out the command.
STOP, STOPPING = "Stop", "Stopping..."
SAMPLE_NOW, SAMPLING = "Preview now", "Making a preview..."
SAVE_NOW, SAVING = "Save now", "Saving..."
WAITING_LABELS = {"stop": STOPPING, "sample_now": SAMPLING, "save_now": SAVING}
CONTINUE = "Continue training"
START, ADD_TO_QUEUE, STARTING = "Start", "Add to queue", "Starting..."
TRAINS = ("empty", "running")  # states of a run that will have previews and curves
NUM_OUTPUTS = 12  # number of outputs of `poll`


@dataclass(frozen=True)
class Snapshot:
    """What the page shows of a run, stored to update only what has changed. `name` is None if no run is selected."""

    name: str | None
    state: str = ""
    step: int = 0
    num_previews: int = 0
    num_checkpoints: int = 0
    num_validations: int = 0
    exists: bool = False
    line: str = ""
    pending: frozenset[str] = frozenset()
    compared_steps: tuple[tuple[str, int], ...] = ()
    rows: str = ""


def resume(name: str | None, owner_token: object, duration: str | None) -> gr.Button:
    """Queue the continuation of a run for the selected duration. Raises gr.Error if it cannot be continued."""
    run = run_actions.owned_run(name, owner_token)
    if not run.exists:
        raise gr.Error(run_actions.RUN_NOT_FOUND, print_exception=False)
    with user_errors_as_toasts():
        minutes = budget.parse_duration(duration)
    run_queue.add_resumed(run.path.name, minutes, owner_token)
    return gr.Button(CONTINUE, interactive=False)


def send(name: str | None, owner_token: object, command: str) -> gr.Button:
    """Send a command to the trainer of a run. The button says so until the trainer has carried it out."""
    run = run_actions.owned_run(name, owner_token)
    try:
        send_command(run, command)
    except OSError as error:
        raise gr.Error(
            f"Cannot send the command to the trainer ({error.strerror or error}). "
            "Check the run folder and the free disk space.",
            print_exception=False,
        ) from error
    return gr.Button(WAITING_LABELS[command], interactive=False)


def open_latest(name: str | None, owner_token: object) -> tuple[gr.Tabs, gr.Dropdown]:
    """Switch to the Sample tab and select the latest checkpoint of a run.

    Raises gr.Error if the run has no checkpoint, or its model does not generate images.
    """
    run = run_list.find_run(name, owner_token)
    latest = run.latest() if run else None
    if latest is None:
        training = run is not None and run_list.is_training(run)
        raise gr.Error(NO_CHECKPOINT_YET if training else NO_CHECKPOINT, print_exception=False)
    with user_errors_as_toasts():
        task = load_metadata(latest).task
    if task != "diffusion":
        raise gr.Error(NOT_A_DIFFUSION_MODEL[task], print_exception=False)
    model, choices = checkpoint_name(latest), model_list.model_choices()
    if model not in dict(choices).values():
        choices = [*choices, (model, model)]
    return gr.Tabs(selected="sample"), gr.Dropdown(choices, value=model)


def poll(name: str | None, others: list[str] | None, owner_token: object, shown: Snapshot | None) -> list:
    """Return the status of a run, its losses next to those of `others`, and the list of all runs.

    `shown` is the snapshot of the last call; outputs that have not changed since are skipped.
    """
    rows = run_rows.rows(owner_token)
    run = run_list.find_run(name, owner_token)
    if run is None:
        return _no_run(shown, rows)
    queue = run_list.read_queue_or_empty()
    status, is_owner = run_list.status_or_damaged(run), run_ownership.owns(run, owner_token)
    compared = _statuses(others or [], name, owner_token)
    state = run_list.state_of(run, status, queue)
    snapshot = Snapshot(
        name,
        state,
        status.step,
        len(status.previews),
        len(status.saved),
        len(status.held_out),
        run.exists,
        _status_line(run, status, state),
        status.pending,
        tuple((other, other_status.step) for other, other_status in compared.items()),
        repr(rows),
    )
    if snapshot == shown:
        return [gr.skip()] * NUM_OUTPUTS
    return [
        snapshot,
        snapshot.line,
        *_changed_views(run, status, compared, snapshot, shown, is_owner),
        *_buttons(run, snapshot, is_owner),
        gr.skip() if _same(snapshot, shown, "exists") else _command(run),
        *_list_outputs(rows, snapshot, shown),
    ]


def _list_outputs(rows: dict[str, Any], snapshot: Snapshot, shown: Snapshot | None) -> list:
    """Return the list of runs and the label of the Start button, or gr.skip() if they have not changed."""
    if shown is not None and shown.rows == snapshot.rows:
        return [gr.skip(), gr.skip()]
    return [rows, gr.Button(start_label(rows))]


def start_label(rows: dict[str, Any]) -> str:
    """Return the label of the Start button, which adds to the queue while a run is being trained or waits."""
    return ADD_TO_QUEUE if run_rows.is_busy(rows) else START


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
    run: RunFolder,
    status: Status,
    compared: dict[str, Status],
    snapshot: Snapshot,
    shown: Snapshot | None,
    is_owner: bool,
) -> list:
    """Return the timeline and the curves, or gr.skip() for those that have not changed.

    The page leaves room for what is expected, so that nothing below moves when it appears.
    """
    timeline = curves = gr.skip()
    expected = {"expected": snapshot.state in TRAINS}
    if not _same(snapshot, shown, "num_previews", "state"):
        empty = IN_QUEUE if snapshot.state == "queued" else FIRST_PREVIEW if snapshot.state in TRAINS else ""
        # On a public page others watch the run, but the images are its owner's.
        timeline = plots.timeline(run.path, status, empty, shows_training_images=is_owner) | expected
    if not _same(snapshot, shown, "state", "step", "num_validations", "compared_steps"):
        curves = _curves(run, status, compared) | expected
    return [timeline, curves]


def _buttons(run: RunFolder, snapshot: Snapshot, is_owner: bool) -> list[gr.Button]:
    """Return the buttons of a run (stop, resume, open, preview, save), enabled where they apply."""
    running, has_checkpoint = is_owner and snapshot.state == "running", run.latest() is not None
    resumable = is_owner and snapshot.state in run_rows.ENDED and has_checkpoint
    pending = snapshot.pending

    def command(name: str, label: str) -> gr.Button:
        waits = name in pending
        return gr.Button(WAITING_LABELS[name] if waits else label, interactive=running and not waits)

    return [
        command("stop", STOP),
        gr.Button(CONTINUE, interactive=resumable),
        gr.Button(interactive=run.exists),  # without a checkpoint, a click says why
        command("sample_now", SAMPLE_NOW),
        command("save_now", SAVE_NOW),
    ]


def _no_run(shown: Snapshot | None, rows: dict[str, Any]) -> list:
    snapshot = Snapshot(None, rows=repr(rows))
    if shown == snapshot:
        return [gr.skip()] * NUM_OUTPUTS
    nothing = {"frames": [], "empty": CHOOSE_RUN if rows["runs"] else NO_RUN, "none": not rows["runs"]}
    buttons = [gr.Button(interactive=False)] * 5
    return [snapshot, "", nothing, {"views": []}, *buttons, "", *_list_outputs(rows, snapshot, shown)]


def _curves(run: RunFolder, status: Status, compared: dict[str, Status]) -> dict[str, Any]:
    views = plots.curves(status)["views"]
    return {"views": [plots.comparison({run.path.name: status} | compared), *views] if compared else views}


def _command(run: RunFolder) -> str:
    with suppress(BadInput):  # the status line reports a damaged run
        return run.read_config()[2] if run.exists and not settings().public else ""
    return ""


def _config(run: RunFolder) -> tuple[TrainConfig, int] | None:
    """Return the config of a run and the number of its training images; None if they cannot be read."""
    with suppress(BadInput, TypeError):
        config, data, _ = run.read_config()
        count = data["images"] - data["held_out"] if {"images", "held_out"} <= data.keys() else 0
        return config, count
    return None


def _status_line(run: RunFolder, status: Status, state: str) -> str:
    """Return the state, progress, speed, remaining time and memory as HTML, what to expect, and the run's folder."""
    known = _config(run) if run.exists else None
    parts = [f'<b class="state {state}">{run_list.STATE_LABELS[state]}</b>', *_progress(status, state, known)]
    if state == "running":
        parts += [f"{status.images_per_second:.0f} images/s"] if status.images_per_second else []
        parts += [_time_left(status)] if status.seconds_left is not None else []
        parts += [f"{status.memory / 1e9:.1f} GB"] if status.memory else []
    if state in ("empty", "refused"):
        parts.append(html.escape(last_log_line(run)) or "loading (takes a few seconds)")
    parts += [html.escape(text) for text in (_how_it_ended(status, state), status.message) if text]
    is_hinted = settings().training and state not in ("queued", "stopping")
    hint = expectations.expectation(status, known[0]) if known and is_hinted else ""
    hint = f'<p class="expect">{html.escape(hint)}</p>' if hint else ""
    saved = "Will be saved in" if state in ("queued", "empty") else "Saved in"
    folder = "" if settings().public else f'<p class="where">{saved} {html.escape(str(run.path))}</p>'
    return f'<p class="line">{" · ".join(filter(None, parts))}</p>{hint}{folder}'


def _progress(status: Status, state: str, known: tuple[TrainConfig, int] | None) -> list[str]:
    if not status.step:
        return []
    steps = f"step {status.step:,}" + (f" of {status.max_steps:,}" if status.max_steps else "")
    if not known or known[1] < 1:
        return [steps]
    return [steps, f"has seen {budget.times_seen(expectations.images_trained(status, known[0]), known[1])}"]


def _time_left(status: Status) -> str:
    if status.seconds_left:
        return f"{duration(status.seconds_left)} left"
    return "time is up: saving and making the last preview"


def _how_it_ended(status: Status, state: str) -> str:
    if state == "stopping":
        saved = status.saved and status.saved[-1]["step"] >= status.step
        return "saved; making the last preview" if saved else "finishing this step, then saving"
    if state == "stopped":
        return "everything is saved; Continue training adds the training time chosen in step 2"
    if state == "early_stopped":
        return "the validation loss no longer improved"
    if state == "interrupted":
        return "the process was killed or ran out of memory; press Continue training to resume"
    return ""
