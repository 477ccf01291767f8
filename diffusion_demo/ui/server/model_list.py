"""Models offered by the page: bundled ones, the latest and best checkpoint of every run, imported ones and oracles."""

import os
from pathlib import Path

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import ORACLES, checkpoint_name, checkpoints_in
from diffusion_demo.paths import CHECKPOINTS, runs_folder
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.server import run_ownership

# Resolved once: a relative path or a link would not equal the paths that runs store.
RUNS = runs_folder().resolve()
IMPORTED = RUNS / "imported"
DEFAULT_MODEL = "avatars-32"
MODEL_NOT_FOUND = "This model no longer exists. Choose another one from the list."


def model_folders() -> dict[str, Path]:
    """Return the folders of all diffusion models that this visitor may name. The "folder" of an oracle is its name."""
    return _models_for_task("diffusion") | {name: Path(name) for name in ORACLES}


def upsampler_folders() -> dict[str, Path]:
    """Return the folders of all upsamplers that this visitor may name."""
    return _models_for_task("upsampler")


def _models_for_task(task: str) -> dict[str, Path]:
    runs = [RunFolder(path.parent) for path in sorted(RUNS.glob("[!.]*/config.json"))]
    visible = filter(run_ownership.can_view, runs)
    trained = [folder for run in visible for folder in _checkpoints_of(run)]
    bundled = sorted(checkpoints_in(CHECKPOINTS), key=lambda folder: folder.name != DEFAULT_MODEL)
    folders = [*bundled, *trained, *checkpoints_in(IMPORTED)]
    return {checkpoint_name(folder): folder for folder in folders if _task_of(folder) == task}


def model_choices() -> list[tuple[str, str]]:
    """Return (title, name) of every diffusion model that this visitor may name, as choices of a dropdown."""
    return [(model_title(name, folder), name) for name, folder in model_folders().items()]


def _checkpoints_of(run: RunFolder) -> list[Path]:
    """Return the latest and the best checkpoint of a run; none if its folder cannot be read."""
    try:
        return [folder for folder in dict.fromkeys([run.latest(), run.best()]) if folder]
    except (OSError, ValueError):
        return []


def refreshed(model: str | None) -> tuple[gr.Dropdown, str | None]:
    """Return the update of a field of models, and what replaces `model` if it is no longer listed, else None.

    A run may have been trained, renamed or deleted since the list was made. A checkpoint of the same run replaces a
    model, or the default.
    """
    choices = model_choices()
    listed = [name for _, name in choices]
    if model is None or model in listed:
        return gr.Dropdown(choices), None
    run = model.rpartition("/")[0]
    other = next((name for name in listed if name.startswith(f"{run}/step_")), DEFAULT_MODEL)
    return gr.Dropdown(choices, value=other), other


def title_of(name: str) -> str:
    """Return the display name of a model by its name alone; the name itself if the model is not listed."""
    folder = model_folders().get(name)
    return model_title(name, folder) if folder else name


def model_title(name: str, folder: Path) -> str:
    """Return the display name of a listed model, such as "pets-1, step 13" for "pets-1/step_000013"."""
    if name in ORACLES:
        return ORACLES[name]
    if folder.parent == CHECKPOINTS:
        size = load_metadata(folder).image_size
        return f"{name.removesuffix(f'-{size}').capitalize()}, {size}x{size} (bundled)"
    if not _belongs_to_run(folder):
        return f"{name} (imported)"
    run, _, step = name.rpartition("/step_")
    title = f"{run}, step {int(step):,}" if step.isdecimal() else name
    is_latest = RunFolder(folder.parent.parent).latest() == folder
    return title if is_latest else f"{title} (best on validation images)"


def _belongs_to_run(folder: Path) -> bool:
    return os.path.isfile(folder.parent.parent / "config.json")


def _task_of(folder: Path) -> str | None:
    try:
        return load_metadata(folder).task
    except BadInput:
        return None


def folder_of(model: str | None) -> Path:
    """Return the folder of a listed model. Raises gr.Error for any other name, and so for any path."""
    folder = model_folders().get(model) if model is not None else None
    if folder is None:
        raise gr.Error(MODEL_NOT_FOUND, print_exception=False)
    return folder
