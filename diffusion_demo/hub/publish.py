"""Publish a checkpoint as a model on the Hub, which others sample from and fine-tune by its name."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_demo.errors import BadInput
from diffusion_demo.hub.account import hub_errors_as_bad_input
from diffusion_demo.hub.local_paths import command_without_paths, without_paths
from diffusion_demo.hub.publish_settings import PublishSettings
from diffusion_demo.hub.published_card import GRID, published_card
from diffusion_demo.models.metadata import FILE, ORACLES, CheckpointMetadata
from diffusion_demo.sampling.presets import DEFAULT, PRESETS
from diffusion_demo.sampling.request import Request

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from diffusion_demo.models.checkpoint import Checkpoint

SUFFIXES = (".json", ".safetensors")
FOLDERS = ("", "unet", "scheduler", "classifier")  # of a checkpoint; `state` holds the optimizer of a run
MESSAGE = "Publish with diffusion-demo"
GRID_IMAGES, GRID_SIDE = 16, 128  # pixels of an enlarged image


def publish(folder: Path, publication: PublishSettings, api: "HfApi", report: Mapping[str, Any] | None = None) -> str:
    """Upload the checkpoint in `folder`, and return the address of the model.

    report  of `evaluate --json`, for the model card
    Raises BadInput if the checkpoint cannot be read or the Hub refuses.
    """
    with tempfile.TemporaryDirectory() as temporary:
        files = Path(temporary) / "model"
        write_published(folder, files, publication, report)
        with hub_errors_as_bad_input(f"create the model {publication.name}"):
            api.create_repo(publication.name, private=publication.private, exist_ok=True)
        with hub_errors_as_bad_input("upload the model"):
            api.upload_folder(
                repo_id=publication.name, folder_path=files, commit_message=MESSAGE, delete_patterns=["*"]
            )
    return f"{api.endpoint}/{publication.name}"


def write_published(
    folder: Path, target: Path, publication: PublishSettings, report: Mapping[str, Any] | None = None
) -> None:
    """Write the files of the published model to the new folder `target`: weights, configs, card and sample grid.

    None of them names a path of this machine. Raises BadInput if the checkpoint is not one of this package.
    """
    from diffusion_demo.models.checkpoint import load_checkpoint

    if str(folder) in ORACLES:
        raise BadInput(f"{folder} is a formula without weights. Publish a trained checkpoint.")
    if not os.path.isfile(folder / FILE):
        raise BadInput(f"{folder} was not made with this program. Upload it with: hf upload {publication.name} DIR.")
    checkpoint = load_checkpoint(folder)
    target.mkdir()
    for path in _checkpoint_files(folder):
        copy = target / path.relative_to(folder)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)
    metadata = anonymous(checkpoint.description)
    metadata.save(target)
    grid = _write_grid(target / GRID, checkpoint)
    parameters = sum(p.numel() for p in checkpoint.unet.parameters())
    card = published_card(metadata, parameters, publication, grid, report)
    (target / "README.md").write_text(card, encoding="utf-8")


def _checkpoint_files(folder: Path) -> Iterator[Path]:
    for name in FOLDERS:
        for path in sorted((folder / name).glob("*")):
            if path.suffix in SUFFIXES and os.path.isfile(path) and not path.is_symlink():
                yield path


def anonymous(metadata: CheckpointMetadata) -> CheckpointMetadata:
    """Return the metadata without paths of this machine."""
    return replace(
        metadata,
        command=command_without_paths(metadata.command),
        origin=without_paths(metadata.origin),
        data=without_paths(metadata.data),
    )


def _write_grid(file: Path, checkpoint: "Checkpoint") -> str | None:
    """Sample sixteen images at the usual settings, save them as a grid, and return the settings in words.

    Return None for a classifier and an upsampler, which do not make images of their own.
    """
    from diffusion_demo.images import contact_sheet, save_png, to_uint8
    from diffusion_demo.sampling.generate import last_step, sample

    metadata = checkpoint.description
    if metadata.task != "diffusion":
        return None
    steps = min(PRESETS[DEFAULT][1], metadata.num_train_timesteps)
    request = Request(num_images=GRID_IMAGES, steps=steps)
    sheet = contact_sheet(to_uint8(last_step(sample(checkpoint, request)).xt))
    factor = max(1, GRID_SIDE // metadata.image_size)
    save_png(file, sheet.resize((sheet.width * factor, sheet.height * factor), 0))
    return f"Sixteen images, seeds 0 to {GRID_IMAGES - 1}: {request.sampler}, {steps} steps"
