"""The metadata of any checkpoint, whoever wrote it, without loading torch."""

import json
from pathlib import Path

from diffusion_demo.errors import BadInput
from diffusion_demo.models.diffusers_format import diffusers_metadata
from diffusion_demo.models.hub import local_folder
from diffusion_demo.models.metadata import FILE, NO_CHECKPOINT, ORACLES, CheckpointMetadata, has_classifier


def load_metadata(folder: str | Path) -> CheckpointMetadata:
    """The description of a checkpoint: a folder of ours or of diffusers, a model's name on the Hub, or an oracle's.

    Raises BadInput with one sentence when there is none.
    """
    if str(folder) in ORACLES:
        return CheckpointMetadata(image_size=32, channels=3, num_train_timesteps=1000)

    name, folder = str(folder), local_folder(folder)
    if not (folder / FILE).is_file():
        try:
            return diffusers_metadata(folder, name)
        except TypeError as error:
            raise BadInput(f"The configs of {name} cannot be read ({error}); copy the model again.") from error
    if not (folder / "model_index.json").is_file() and not has_classifier(folder):
        raise BadInput(NO_CHECKPOINT.format(name))
    try:
        fields = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return CheckpointMetadata(**fields | {"class_names": tuple(fields["class_names"])})
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{folder / FILE} cannot be read ({error}); copy the checkpoint again.") from error
