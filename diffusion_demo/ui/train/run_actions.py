"""What its owner can do to a run as a whole: take it along, delete it."""

import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.server import model_list, run_ownership
from diffusion_demo.ui.train import run_list, uploads

GONE = "This run is not there any more; choose another."


def own(name: str | None, held: object) -> RunFolder:
    """The run of a listed name that this browser may change. Raises a toast."""
    run = run_list.called(name, held)
    if run is None:
        raise gr.Error(GONE, print_exception=False)
    run_ownership.check(run, held)
    return run


def delete(name: str | None, held: object):
    """Delete the run, and the images that were dropped for it where no other run uses them."""
    run = own(name, held)
    if run_list.is_busy(run):
        raise gr.Error("This run is being trained; stop it first.", print_exception=False)
    dropped = uploads_of_run(run)
    gone = run.path.with_name(f".{name}.deleted")
    try:
        run.path.rename(gone)  # at once out of every list, however long it takes to delete
    except OSError as error:
        raise gr.Error(f"It cannot be deleted ({error.strerror or error}).", print_exception=False) from error
    shutil.rmtree(gone, ignore_errors=True)
    if dropped and not any(
        uploads_of_run(RunFolder(model_list.RUNS / other)) == dropped for other in run_list.all_names()
    ):
        shutil.rmtree(dropped, ignore_errors=True)
    return gr.Dropdown(run_list.names(held), value=run_list.current(held)), run_list.table(held)


def uploads_of_run(run: RunFolder) -> Path | None:
    """The folder of the upload that it was trained on, if it was one and the run still says so."""
    try:
        inside = Path(run.read_config()[0].data)
    except (BadInput, TypeError):
        return None
    return (
        uploads.UPLOADS / inside.relative_to(uploads.UPLOADS).parts[0]
        if inside.is_relative_to(uploads.UPLOADS)
        else None
    )


def pack(name: str | None, held: object):
    """A zip of the run: its newest and its best model, previews, losses, settings; without what only going on needs."""
    run = own(name, held)
    kept = [run.config_file, run.events_file, *run.path.glob("samples/*.png")]
    for checkpoint in {run.latest(), run.best()} - {None}:
        kept += [
            path
            for path in checkpoint.rglob("*")
            if path.is_file() and "state" not in path.relative_to(checkpoint).parts
        ]
    target = Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"])) / f"{name}.zip"
    try:
        with zipfile.ZipFile(target, "w") as archive:
            for path in sorted(filter(Path.is_file, kept)):
                archive.write(path, Path(name) / path.relative_to(run.path))
    except OSError as error:
        shutil.rmtree(target.parent, ignore_errors=True)
        raise gr.Error(
            f"The zip cannot be made ({error.strerror or error}); try again.", print_exception=False
        ) from error
    return gr.DownloadButton(value=str(target), visible=True)
