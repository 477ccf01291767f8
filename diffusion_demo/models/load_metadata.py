"""Read the metadata of any checkpoint without importing torch."""

import json
from pathlib import Path

from diffusion_demo.errors import BadInput
from diffusion_demo.models.diffusers_format import diffusers_metadata
from diffusion_demo.models.hub import local_folder
from diffusion_demo.models.metadata import FILE, NOT_A_CHECKPOINT, ORACLES, CheckpointMetadata, has_classifier


def load_metadata(folder: str | Path) -> CheckpointMetadata:
    """Return the metadata of a checkpoint folder (ours or diffusers'), of a model on the Hub, or of an oracle.

    Raises BadInput if there is no such checkpoint or its files cannot be read.
    """
    if str(folder) in ORACLES:
        return CheckpointMetadata(image_size=32, channels=3, num_train_timesteps=1000)

    name, folder = str(folder), local_folder(folder)
    if not (folder / FILE).is_file():
        try:
            return diffusers_metadata(folder, name)
        except TypeError as error:
            raise BadInput(f"Cannot read the configs of {name} ({error}). Download or copy the model again.") from error
    if not (folder / "model_index.json").is_file() and not has_classifier(folder):
        raise BadInput(NOT_A_CHECKPOINT.format(name))
    try:
        fields = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return CheckpointMetadata(**fields | {"class_names": tuple(fields["class_names"])})
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"Cannot read {folder / FILE} ({error}). Copy the checkpoint again.") from error
