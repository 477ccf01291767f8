"""All runs of this machine: which there are, whether one is at work, and what can be done to one as a whole."""

import html
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import gradio as gr

from diffusion_demo.training.launch import is_launched
from diffusion_demo.training.run import RunFolder
from diffusion_demo.training.status import Status, status_of
from diffusion_demo.ui import choices, uploads

GONE = "This run is not there any more; choose another."
STATE_WORDS = {
    "empty": "Starting",
    "running": "Training",
    "finished": "Finished",
    "failed": "Stopped by an error",
    "interrupted": "Interrupted from outside",
    "refused": "Could not start",
}


def names() -> list[str]:
    """The runs by name, newest first."""
    found = [path.parent for path in choices.RUNS.glob("[!.]*/*") if path.name in ("config.json", "trainer.log")]
    return [path.name for path in sorted(set(found), key=lambda path: path.stat().st_ctime, reverse=True)]


def current() -> str | None:
    """The run that a person who comes (back) wants to see: the one that is training, else the newest."""
    listed = names()
    training = (name for name in listed if status_of(RunFolder(choices.RUNS / name)).state == "running")
    return next(training, next(iter(listed), None))


def called(name: str | None) -> RunFolder | None:
    """The run of a listed name: never a path that somebody sends."""
    return RunFolder(choices.RUNS / name) if name in names() else None


def state_of(run: RunFolder, status: Status) -> str:
    """The status's state, or "refused" where a trainer was launched that went away without beginning."""
    return "refused" if status.state == "empty" and not is_launched(run) else status.state


def is_busy(run: RunFolder) -> bool:
    """Is a trainer at work on it, or about to be?"""
    return status_of(run).state == "running" or is_launched(run)


def refuse_a_second() -> None:
    """Raise a toast while any run is being trained: two at a time would both be slow."""
    if any(is_busy(RunFolder(choices.RUNS / name)) for name in names()):
        raise gr.Error("A training is going on already; stop it first, or wait for its end.", print_exception=False)


def table() -> str:
    """Every run, a row each."""
    rows = [_row(RunFolder(choices.RUNS / name)) for name in names()]
    head = "<tr><th>Run</th><th></th><th>Steps</th><th>Pictures seen</th><th>Held-out loss</th><th>On disk</th></tr>"
    return f'<div class="scrolling"><table class="runs"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>' if rows else ""


def _row(run: RunFolder) -> str:
    status = status_of(run)
    loss = f"{min(event['loss'] for event in status.held_out):.4f}" if status.held_out else ""
    size = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    cells = [
        html.escape(run.path.name),
        STATE_WORDS[state_of(run, status)],
        f"{status.step:,}",
        f"{status.images_seen:,}",
        loss,
        f"{size / 1e6:,.0f} MB",
    ]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def delete(name: str | None):
    """Delete the run, and the pictures that were dropped for it where no other run uses them."""
    run = called(name)
    if run is None:
        raise gr.Error(GONE, print_exception=False)
    if is_busy(run):
        raise gr.Error("This run is being trained; stop it first.", print_exception=False)
    dropped = _dropped_for(run)
    gone = run.path.with_name(f".{name}.deleted")
    run.path.rename(gone)  # at once out of every list, however long it takes to delete
    shutil.rmtree(gone, ignore_errors=True)
    if dropped and not any(_dropped_for(RunFolder(choices.RUNS / other)) == dropped for other in names()):
        shutil.rmtree(dropped, ignore_errors=True)
    return gr.Dropdown(names(), value=current()), table()


def _dropped_for(run: RunFolder) -> Path | None:
    """The folder of the upload that it was trained on, if it was one."""
    if not run.exists:
        return None
    inside = Path(run.read_config()[0].data)
    return uploads.UPLOADS / inside.relative_to(uploads.UPLOADS).parts[0] if inside.is_relative_to(uploads.UPLOADS) else None


def pack(name: str | None):
    """A zip of the run: its newest and its best model, previews, losses, settings; without what only going on needs."""
    run = called(name)
    if run is None:
        raise gr.Error(GONE, print_exception=False)
    kept = [run.config_file, run.events_file, *run.path.glob("samples/*.png")]
    for checkpoint in {run.latest(), run.best()} - {None}:
        kept += [path for path in checkpoint.rglob("*") if path.is_file() and "state" not in path.relative_to(checkpoint).parts]
    target = Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"])) / f"{name}.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(filter(Path.is_file, kept)):
            archive.write(path, Path(name) / path.relative_to(run.path))
    return gr.DownloadButton(value=str(target), visible=True)
