"""The models that the page offers: those that ship, the newest and the best checkpoint of every run, those imported here, and the oracles."""

import os
from pathlib import Path

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import ORACLES, checkpoint_name, checkpoints_in
from diffusion_demo.paths import CHECKPOINTS, ROOT
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.settings import settings

RUNS = Path(os.environ.get("DIFFUSION_DEMO_RUNS", ROOT / "runs"))
IMPORTED = RUNS / "imported"
DEFAULT_MODEL = "avatars-32"


def models() -> dict[str, Path]:
    """The folders of what makes images from noise, by name; an oracle's stands for itself."""
    return _of_task("diffusion") | {name: Path(name) for name in ORACLES}


def upsamplers() -> dict[str, Path]:
    """The folders of what enlarges images, by name."""
    return _of_task("upsampler")


def _of_task(task: str) -> dict[str, Path]:
    runs = [RunFolder(path.parent) for path in sorted(RUNS.glob("[!.]*/config.json"))]
    trained = [folder for run in runs for folder in dict.fromkeys([run.latest(), run.best()]) if folder]
    bundled = sorted(checkpoints_in(CHECKPOINTS), key=lambda folder: folder.name != DEFAULT_MODEL)
    folders = [*bundled, *trained, *checkpoints_in(IMPORTED)]
    return {checkpoint_name(folder): folder for folder in folders if _task_of(folder) == task}


def titles() -> list[tuple[str, str]]:
    """What a person reads for each model, and its name."""
    return [
        (_title(name, folder), name) for name, folder in models().items() if settings().watch or not _of_a_run(folder)
    ]


def _title(name: str, folder: Path) -> str:
    only_best = _of_a_run(folder) and RunFolder(folder.parent.parent).latest() != folder
    return ORACLES.get(name, f"{name}, its best on held-out images" if only_best else name)


def _of_a_run(folder: Path) -> bool:
    return (folder.parent.parent / "config.json").is_file()


def _task_of(folder: Path) -> str | None:
    try:
        return load_metadata(folder).task
    except BadInput:
        return None


def folder_of(model: str | None) -> Path:
    """The folder of a listed model: a name only, never a path that somebody sends. Raises a toast for any other name."""
    found = models()
    if model not in found:
        raise gr.Error("This model is not there any more; choose one from the list.", print_exception=False)
    return found[model]
