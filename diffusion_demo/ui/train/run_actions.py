"""Actions of an owner on a run: export it as a ZIP, rename it, delete it."""

import json
import os
import secrets
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import checkpoint_name
from diffusion_demo.paths import without_folders
from diffusion_demo.training.process import SETTINGS
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.server import model_list, run_ownership
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import run_list, run_queue, uploads
from diffusion_demo.untrusted_files import read_json

DELETED = ".deleted"
RUN_NOT_FOUND = "This run no longer exists. Choose another one."


def owned_run(name: str | None, owner_token: object) -> RunFolder:
    """Return a listed run. Raises gr.Error if it does not exist or belongs to another visitor."""
    run = run_list.find_run(name, owner_token)
    if run is None:
        raise gr.Error(RUN_NOT_FOUND, print_exception=False)
    run_ownership.check_owner(run, owner_token)
    return run


def delete(name: str | None, owner_token: object) -> gr.Dropdown:
    """Delete a run, and its uploaded images unless another run uses them. Returns the new list of runs.

    A waiting run is removed from the queue. Raises gr.Error if the run is being trained or cannot be deleted.
    """
    run = owned_run(name, owner_token)
    upload = uploads_of_run(run)
    entry = run_list.read_queue_or_empty().find(run.path.name)
    if entry is not None and entry.waiting:
        run_queue.remove(name, owner_token)
    check_not_trained(run, "deleted")
    hidden = run.path.with_name(f".{name}.{secrets.token_hex(4)}{DELETED}")
    _rename(run, hidden, "delete")  # removes it from all lists at once, however long the deletion takes
    shutil.rmtree(hidden, ignore_errors=True)
    other_uploads = (uploads_of_run(RunFolder(model_list.RUNS / other)) for other in run_list.all_names())
    if upload and upload not in other_uploads:
        shutil.rmtree(upload, ignore_errors=True)
    return gr.Dropdown(run_list.visible_names(owner_token), value=run_list.default_run(owner_token))


def finish_deletions() -> None:
    """Delete what is left of runs whose deletion was interrupted, for example by the end of the server."""
    for folder in model_list.RUNS.glob(f".*.{'[0-9a-f]' * 8}{DELETED}"):
        shutil.rmtree(folder, ignore_errors=True)


def rename(name: str | None, owner_token: object, new_name: str) -> gr.Dropdown:
    """Rename a run. Returns the new list of runs, with it selected.

    Raises gr.Error if the run is being trained or queued, or there is a run of that name.
    """
    run = owned_run(name, owner_token)
    check_not_trained(run, "renamed")
    if run_list.read_queue_or_empty().find(run.path.name):
        raise gr.Error("This run is in the queue. Remove it from there before you rename it.", print_exception=False)
    new = uploads.safe_name(new_name or "", "")
    if not new:
        raise gr.Error("Use letters, digits, dots, dashes and underscores for the name.", print_exception=False)
    if not settings().watch:
        new += f"-{secrets.token_hex(8)}"  # names of private runs cannot be guessed
    if new != run.path.name:
        if new.casefold() in {other.casefold() for other in run_list.all_names()} or os.path.exists(
            model_list.RUNS / new
        ):
            raise gr.Error(f"A run named {new} already exists. Choose another name.", print_exception=False)
        _rename(run, model_list.RUNS / new, "rename")
    return gr.Dropdown(run_list.visible_names(owner_token), value=new)


def check_not_trained(run: RunFolder, deed: str) -> None:
    """Raise gr.Error if a trainer of this run is active."""
    if run_list.is_training(run):
        raise gr.Error(f"A run that is training cannot be {deed}. Stop it first.", print_exception=False)


def _rename(run: RunFolder, target: Path, deed: str) -> None:
    try:
        if os.path.exists(run.path):  # a run that was removed from the queue is already deleted
            run.path.rename(target)
    except OSError as error:
        raise gr.Error(
            f"Cannot {deed} the run ({error.strerror or error}). Check the permissions of its folder.",
            print_exception=False,
        ) from error


def uploads_of_run(run: RunFolder) -> Path | None:
    """Return the folder of the uploaded images that a run is trained on, or None if it was not trained on uploads."""
    try:
        source, folder = _data_of(run), uploads.UPLOADS.resolve()
        if not isinstance(source, str):  # an upload is one folder or ZIP
            return None
        data = Path(source).resolve()
    except (BadInput, OSError, RuntimeError, ValueError):
        return None
    if data == folder or not data.is_relative_to(folder):
        return None
    return uploads.UPLOADS / data.relative_to(folder).parts[0]


def _data_of(run: RunFolder) -> str | tuple[str, ...]:
    """Return the path or paths of the images of a run; one that waits for its start has no config.json yet."""
    if run.exists:
        return run.read_config()[0].data
    settings_read = read_json(run.path / SETTINGS)
    found = settings_read.get("data") if isinstance(settings_read, dict) else None
    if not isinstance(found, str | list):
        raise ValueError("the settings name no data")
    return found if isinstance(found, str) else tuple(map(str, found))


def _is_own_file(folder: Path, path: Path) -> bool:
    """Return whether a path is a regular file that really lies in the folder of the run."""
    return os.path.isfile(path) and not path.is_symlink() and path.resolve().is_relative_to(folder.resolve())


def _without_paths(run: RunFolder) -> str:
    """Return the config.json of a run without the folders of this machine."""
    content = read_json(run.config_file)
    content["command"] = without_folders(content["command"])
    paths = content["config"]["data"]
    names = [Path(path).name for path in ([paths] if isinstance(paths, str) else paths)]
    content["config"]["data"] = names[0] if isinstance(paths, str) else names
    if initial := content["config"].get("init_from"):
        content["config"]["init_from"] = checkpoint_name(initial)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _files_to_pack(run: RunFolder) -> Iterator[Path]:
    """Yield config, events, previews, and the latest and best model. Raises OSError if one is removed meanwhile."""
    yield from (run.config_file, run.events_file, *run.path.glob("samples/*.png"))
    for checkpoint in filter(None, {run.latest(), run.best()}):
        yield from (path for path in checkpoint.rglob("*") if "state" not in path.relative_to(checkpoint).parts)


def pack(name: str | None, owner_token: object) -> gr.DownloadButton:
    """Write a run to a ZIP: config, events, previews, and the latest and best model, without the optimizer state.

    Returns the button that downloads it. Raises gr.Error if the zip cannot be written.
    """
    run = owned_run(name, owner_token)
    zip_file = Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"])) / f"{name}.zip"
    try:
        with zipfile.ZipFile(zip_file, "w") as archive:
            for path in sorted(path for path in _files_to_pack(run) if _is_own_file(run.path, path)):
                name_inside = run.path.name / path.relative_to(run.path)
                if path == run.config_file:
                    archive.writestr(str(name_inside), _without_paths(run))
                else:
                    archive.write(path, name_inside)
    except (OSError, ValueError, LookupError, TypeError) as error:
        shutil.rmtree(zip_file.parent, ignore_errors=True)
        raise gr.Error(
            f"Cannot create the ZIP ({getattr(error, 'strerror', None) or 'its config.json is damaged'}). "
            "Free some disk space, or repair the run, and try again.",
            print_exception=False,
        ) from error
    return gr.DownloadButton(f"Download {name}.zip", value=str(zip_file), visible=True)
