"""A file of torch.save that is read as a table of tensors, and nothing in it run."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from diffusion_demo.errors import BadInput
from diffusion_demo.models.openai.layout import WANTED


def read_tensors(file: Path) -> Mapping[str, Tensor]:
    """The tensors of a file of torch.save by name; nothing that the file asks to run is run. Raises BadInput for anything but such a table."""
    if not file.is_file():
        raise BadInput(
            f"There is no file {file}."
            if not file.is_dir()
            else f"{file} is a folder; give it to --checkpoint as it is."
        )
    try:
        with warnings.catch_warnings(action="ignore"):
            found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch passes on whatever a file of something else leads its reader to
        if "GLOBAL" in str(error):
            raise BadInput(
                f"{file.name} asks to run code of its own, which was not done; save the network's state_dict() alone."
            ) from error
        raise BadInput(
            f"{file.name} is no file of plain tensors that PyTorch wrote, or is damaged or half downloaded; fetch it again."
        ) from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, Mapping):
        raise BadInput(f"{file.name} holds a {type(found).__name__}, not a network's tensors by name; {WANTED}.")
    return found
