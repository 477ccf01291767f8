"""A run on the Train tab: how it stands, and what its trainer can be told."""

import html

import gradio as gr

from diffusion_demo.models.description import checkpoint_name
from diffusion_demo.training.launch import last_words, launch, tell
from diffusion_demo.training.run import RunFolder
from diffusion_demo.training.status import Status, status_of
from diffusion_demo.ui import choices, plots, run_list

NO_RUN = "Nothing has been trained here yet. Drop some pictures on the left and press Start."


def resume(name: str | None, minutes: int):
    """Go on with the run for so many minutes more."""
    run = run_list.called(name)
    if run is None or not run.exists:
        raise gr.Error(run_list.GONE, print_exception=False)
    run_list.refuse_a_second()
    launch(run, ["--run", str(run.path), "--resume", "--max-minutes", str(minutes)])
    return gr.Button(interactive=False)


def say(name: str | None, word: str):
    """Tell the run's trainer; the button rests until the next look."""
    run = run_list.called(name)
    if run is not None:
        tell(run, word)
    return gr.Button(interactive=False)


def open_latest(name: str | None):
    """Turn to the Sample tab, with the run's newest checkpoint as its model."""
    run = run_list.called(name)
    latest = run.latest() if run else None
    if latest is None:
        raise gr.Error("This run has saved no model yet; press Save now.", print_exception=False)
    return gr.Tabs(selected="sample"), gr.Dropdown(choices.titles(), value=checkpoint_name(latest))


def poll(name: str | None, others: list[str] | None, seen: list | None):
    """The run as it stands, with the losses of `others` beside its own, or nothing at all where nothing has changed since `seen`."""
    run = run_list.called(name)
    if run is None:
        return _nothing(seen)
    status = status_of(run)
    state, words = run_list.state_of(run, status), _line(run, status)
    beside = {other: status_of(found) for other in others or [] if other != name and (found := run_list.called(other))}
    compared = [[other, found.step] for other, found in beside.items()]
    mark = [name, state, status.step, len(status.previews), len(status.saved), run.exists, words, compared]
    if mark == seen:
        return [gr.skip()] * 10
    running, same = state == "running", bool(seen) and mark[:1] == seen[:1]
    return [
        mark,
        words,
        gr.skip() if same and mark[3] == seen[3] else plots.timeline(run.path, status, "The first preview comes after twenty steps."),
        gr.skip() if same and (mark[2], mark[7]) == (seen[2], seen[7]) else _curves(run, status, beside),
        gr.Button(interactive=running),
        gr.Button(interactive=state in ("finished", "failed", "interrupted") and run.latest() is not None),
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
    return {"views": [plots.compared({run.path.name: status} | beside), *views["views"]]} if beside else views


def _command(run: RunFolder) -> str:
    return run.read_config()[2] if run.exists else ""


def _line(run: RunFolder, status: Status) -> str:
    """One line: how it stands, how far it is, how long it takes; where it is kept."""
    state = run_list.state_of(run, status)
    parts = [f'<b class="state {state}">{run_list.STATE_WORDS[state]}</b>']
    if status.step:
        parts.append(f"step {status.step:,}" + (f" of {status.max_steps:,}" if status.max_steps else ""))
        parts.append(f"{status.images_seen:,} pictures seen in all")
    if state == "running":
        parts += [f"{status.images_per_second:.0f} a second"] if status.images_per_second else []
        parts += [f"{_duration(status.seconds_left)} left"] if status.seconds_left is not None else []
        parts += [f"{status.memory / 1e9:.1f} GB"] if status.memory else []
    if state in ("empty", "refused"):
        parts.append(html.escape(last_words(run)))
    if state == "interrupted":
        parts.append("killed, or out of memory; Go on takes it up again")
    if status.message:
        parts.append(html.escape(status.message))
    return f'<p class="line">{" · ".join(filter(None, parts))}</p><p class="where">Everything is in {html.escape(str(run.path))}</p>'


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
