"""A run on the Train tab: which one, how it stands, and what it can be told."""

import html
import time

import gradio as gr

from diffusion_demo.models.description import checkpoint_name
from diffusion_demo.training.launch import LOG, last_words, launch, tell
from diffusion_demo.training.run import RunFolder
from diffusion_demo.training.status import Status, status_of
from diffusion_demo.ui import choices, plots

NO_RUN = "Nothing has been trained here yet. Drop some pictures on the left and press Start."
STARTING_SECONDS = 90
STATE_WORDS = {
    "empty": "Starting",
    "running": "Training",
    "finished": "Finished",
    "failed": "Stopped by an error",
    "interrupted": "Interrupted; Go on takes it up again",
}


def run_names() -> list[str]:
    """The runs by name, newest first."""
    found = [path.parent for path in choices.RUNS.glob("[!.]*/*") if path.name in ("config.json", "trainer.log")]
    return [path.name for path in sorted(set(found), key=lambda path: path.stat().st_ctime, reverse=True)]


def current_run() -> str | None:
    """The run that a person who comes (back) wants to see: the one that is training, else the newest."""
    runs = run_names()
    training = (name for name in runs if status_of(RunFolder(choices.RUNS / name)).state == "running")
    return next(training, next(iter(runs), None))


def run_called(name: str | None) -> RunFolder | None:
    """The run of a listed name: never a path that somebody sends."""
    return RunFolder(choices.RUNS / name) if name in run_names() else None


def is_busy(run: RunFolder) -> bool:
    """Is a trainer at work on it, or about to be?"""
    state, log = status_of(run).state, run.path / LOG
    return state == "running" or (state == "empty" and log.exists() and time.time() - log.stat().st_mtime < STARTING_SECONDS)


def resume(name: str | None, minutes: int):
    """Go on with the run for so many minutes more."""
    run = run_called(name)
    if run is None or not run.exists:
        raise gr.Error("This run is not there any more; choose another.", print_exception=False)
    launch(run, ["--run", str(run.path), "--resume", "--max-minutes", str(minutes)])
    return gr.Button(interactive=False)


def say(name: str | None, word: str):
    """Tell the run's trainer; the button rests until the next look."""
    run = run_called(name)
    if run is not None:
        tell(run, word)
    return gr.Button(interactive=False)


def open_latest(name: str | None):
    """Turn to the Sample tab, with the run's newest checkpoint as its model."""
    run = run_called(name)
    latest = run.latest() if run else None
    if latest is None:
        raise gr.Error("This run has saved no model yet; press Save now.", print_exception=False)
    return gr.Tabs(selected="sample"), gr.Dropdown(choices.titles(), value=checkpoint_name(latest))


def poll(name: str | None, seen: list | None):
    """The run as it stands, or nothing at all where nothing has changed since `seen`."""
    run = run_called(name)
    if run is None:
        return [None, "", {"frames": [], "empty": NO_RUN}, {"views": []}, *[gr.Button(interactive=False)] * 5, ""]
    status = status_of(run)
    words = _line(run, status)
    mark = [name, status.state, status.step, len(status.previews), len(status.saved), run.exists, words]
    if mark == seen:
        return [gr.skip()] * 10
    running, same = status.state == "running", bool(seen) and mark[:1] == seen[:1]
    return [
        mark,
        words,
        gr.skip() if same and mark[3] == seen[3] else plots.timeline(run.path, status, "The first preview comes after twenty steps."),
        gr.skip() if same and mark[2] == seen[2] else plots.curves(status),
        gr.Button(interactive=running),
        gr.Button(interactive=status.state in ("finished", "failed", "interrupted") and run.latest() is not None),
        gr.Button(interactive=run.latest() is not None),
        gr.Button(interactive=running),
        gr.Button(interactive=running),
        gr.skip() if same and mark[5] == seen[5] else _command(run),
    ]


def _command(run: RunFolder) -> str:
    return run.read_config()[2] if run.exists else ""


def _line(run: RunFolder, status: Status) -> str:
    """One line: how it stands, how far it is, how long it takes; where it is kept."""
    parts = [f'<b class="state {status.state}">{STATE_WORDS[status.state]}</b>']
    if status.step:
        parts.append(f"step {status.step:,}" + (f" of {status.max_steps:,}" if status.max_steps else ""))
        parts.append(f"{status.images_seen:,} pictures seen in all")
    if status.state == "running":
        parts += [f"{status.images_per_second:.0f} a second"] if status.images_per_second else []
        parts += [f"{_duration(status.seconds_left)} left"] if status.seconds_left is not None else []
        parts += [f"{status.memory / 1e9:.1f} GB"] if status.memory else []
    if status.state == "empty":
        parts.append(html.escape(last_words(run)))
    if status.message:
        parts.append(html.escape(status.message))
    return f'<p class="line">{" · ".join(filter(None, parts))}</p><p class="where">Everything is in {html.escape(str(run.path))}</p>'


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
