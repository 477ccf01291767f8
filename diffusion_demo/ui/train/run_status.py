"""A run on the Train tab: how it stands, and what its trainer can be told."""

import html
from contextlib import suppress

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import checkpoint_name
from diffusion_demo.training.process import last_log_line, launch, send_command
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.status import Status
from diffusion_demo.ui.sample.request_form import as_toasts
from diffusion_demo.ui.server import model_list, run_ownership
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import budget, plots, run_actions, run_list

NO_IMAGES = {
    "classifier": "This run's model names images; to guide by it, copy its classifier folder into that of a model which makes them.",
    "upsampler": "This run's model enlarges images: tick Twice the size under More settings on the Sample tab.",
}
NO_RUN = "Nothing has been trained here yet. Drop some images on the left and press Start."


def resume(name: str | None, held: object, length: str | None):
    """Go on with the run for as long again."""
    run = run_actions.own(name, held)
    if not run.exists:
        raise gr.Error(run_actions.GONE, print_exception=False)
    try:
        minutes = budget.minutes_of(length)
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error
    with run_list.one_more():
        launch(run, ["--run", str(run.path), "--resume", "--max-minutes", str(minutes)])
    return gr.Button(interactive=False)


def say(name: str | None, held: object, word: str):
    """Tell the run's trainer; the button rests until the next look."""
    run = run_actions.own(name, held)
    try:
        send_command(run, word)
    except OSError as error:
        raise gr.Error(
            f"The trainer cannot be told ({error.strerror or error}); make room on the disk.", print_exception=False
        ) from error
    return gr.Button(interactive=False)


def open_latest(name: str | None, held: object):
    """Turn to the Sample tab, with the run's newest checkpoint as its model."""
    run = run_list.called(name, held)
    latest = run.latest() if run else None
    if latest is None:
        raise gr.Error("This run has saved no model yet; press Save now.", print_exception=False)
    with as_toasts():
        task = load_metadata(latest).task
    if task != "diffusion":
        raise gr.Error(NO_IMAGES[task], print_exception=False)
    model = checkpoint_name(latest)
    listed = model_list.titles()
    return gr.Tabs(selected="sample"), gr.Dropdown(
        listed if model in dict(listed).values() else [*listed, model], value=model
    )


def poll(name: str | None, others: list[str] | None, held: object, seen: list | None):
    """The run as it stands, with the losses of `others` beside its own, or nothing at all where nothing has changed since `seen`."""
    run = run_list.called(name, held)
    if run is None:
        return _nothing(seen)
    status, mine = run_list.status(run), run_ownership.owns(run, held)
    state, words = run_list.state_of(run, status), _line(run, status)
    beside = {
        other: run_list.status(found)
        for other in others or []
        if other != name and (found := run_list.called(other, held))
    }
    compared = [[other, found.step] for other, found in beside.items()]
    mark = [name, state, status.step, len(status.previews), len(status.saved), run.exists, words, compared]
    if mark == seen:
        return [gr.skip()] * 10
    running, same = mine and state == "running", bool(seen) and mark[:1] == seen[:1]
    return [
        mark,
        words,
        gr.skip()
        if same and mark[3] == seen[3]
        else plots.timeline(run.path, status, "The first preview comes after twenty steps."),
        gr.skip() if same and (mark[2], mark[7]) == (seen[2], seen[7]) else _curves(run, status, beside),
        gr.Button(interactive=running),
        gr.Button(interactive=mine and state in ("finished", "failed", "interrupted") and run.latest() is not None),
        gr.Button(interactive=run.latest() is not None),
        gr.Button(interactive=running),
        gr.Button(interactive=running),
        gr.skip() if same and mark[5] == seen[5] else _command(run),
    ]


def _nothing(seen: list | None) -> list:
    mark = ["no run"]
    if seen == mark:
        return [gr.skip()] * 10
    return [mark, "", {"frames": [], "empty": NO_RUN}, {"views": []}, *[gr.Button(interactive=False)] * 5, ""]


def _curves(run: RunFolder, status: Status, beside: dict[str, Status]) -> dict:
    views = plots.curves(status)
    return (
        {"views": [plots.compared({run.path.name: status} | beside), *views["views"]]}
        if beside
        else views
    )


def _command(run: RunFolder) -> str:
    with suppress(BadInput):  # the line says that the run is damaged
        return run.read_config()[2] if run.exists and not settings().public else ""
    return ""


def _line(run: RunFolder, status: Status) -> str:
    """One line: how it stands, how far it is, how long it takes; where it is kept."""
    state = run_list.state_of(run, status)
    parts = [f'<b class="state {state}">{run_list.STATE_WORDS[state]}</b>']
    if status.step:
        parts.append(f"step {status.step:,}" + (f" of {status.max_steps:,}" if status.max_steps else ""))
        parts.append(f"{status.images_seen:,} images seen in all")
    if state == "running":
        parts += [f"{status.images_per_second:.0f} a second"] if status.images_per_second else []
        parts += [f"{_duration(status.seconds_left)} left"] if status.seconds_left is not None else []
        parts += [f"{status.memory / 1e9:.1f} GB"] if status.memory else []
    if state in ("empty", "refused"):
        parts.append(html.escape(last_log_line(run)))
    if state == "interrupted":
        parts.append("killed, or out of memory; Go on takes it up again")
    if status.message:
        parts.append(html.escape(status.message))
    where = "" if settings().public else f'<p class="where">Everything is in {html.escape(str(run.path))}</p>'
    return f'<p class="line">{" · ".join(filter(None, parts))}</p>{where}'


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
