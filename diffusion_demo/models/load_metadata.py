"""Read the metadata of any checkpoint without importing torch."""

import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import get_type_hints

from pydantic import TypeAdapter, ValidationError

from diffusion_demo.errors import BadInput
from diffusion_demo.models.diffusers_config_keys import MAX_CLASSES, MAX_TIMESTEPS
from diffusion_demo.models.diffusers_format import diffusers_metadata
from diffusion_demo.models.hub import local_folder
from diffusion_demo.models.metadata import (
    FILE,
    NOT_A_CHECKPOINT,
    ORACLES,
    TASKS,
    CheckpointMetadata,
    has_classifier,
    with_current_keys,
)
from diffusion_demo.untrusted_files import check_readable, read_json

BOUNDS = {"image_size": (1, 4096), "channels": (1, 64), "num_train_timesteps": (1, MAX_TIMESTEPS)}


def load_metadata(folder: str | Path) -> CheckpointMetadata:
    """Return the metadata of a checkpoint folder (ours or diffusers'), of a model on the Hub, or of an oracle.

    Raises BadInput if there is no such checkpoint or its files cannot be read.
    """
    if str(folder) in ORACLES:
        return CheckpointMetadata(image_size=32, channels=3, num_train_timesteps=1000)

    name, folder = str(folder), local_folder(folder)
    if not os.path.isfile(folder / FILE):
        try:
            return diffusers_metadata(folder, name)
        except TypeError as error:
            raise BadInput(f"Cannot read the configs of {name} ({error}). Download or copy the model again.") from error
    if not os.path.isfile(folder / "model_index.json") and not has_classifier(folder):
        raise BadInput(NOT_A_CHECKPOINT.format(name))
    try:
        fields = read_json(folder / FILE)
        metadata = CheckpointMetadata(**fields | {"class_names": tuple(fields["class_names"])})
        _check(metadata)
        return replace(metadata, data=metadata.data and with_current_keys(metadata.data))
    except (OSError, ValueError, TypeError, KeyError) as error:
        check_readable(folder)
        reason = "a value has another type" if isinstance(error, ValidationError) else error
        raise BadInput(f"Cannot read {folder / FILE} ({reason}). Copy the checkpoint again.") from error


@lru_cache(maxsize=1)
def _field_types() -> dict[str, TypeAdapter]:
    return {name: TypeAdapter(hint) for name, hint in get_type_hints(CheckpointMetadata).items()}


def _check(metadata: CheckpointMetadata) -> None:
    """Raise ValueError for a value of another type, or beyond any network that this package can run."""
    for name, adapter in _field_types().items():
        adapter.validate_python(getattr(metadata, name), strict=True)
    for name, (low, high) in BOUNDS.items():
        if not low <= getattr(metadata, name) <= high:
            raise ValueError(f"{name} must be from {low} to {high}")
    if len(metadata.class_names) > MAX_CLASSES or metadata.task not in TASKS:
        raise ValueError("the task is unknown, or there are too many classes")
