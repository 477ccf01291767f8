"""Read a state dict from a file of torch.save without running any code in it."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from diffusion_demo.errors import BadInput
from diffusion_demo.models.openai.layout import SUPPORTED


def read_tensors(file: Path) -> Mapping[str, Tensor]:
    """Return the tensors of a file of torch.save by name, on the CPU. Code in the file is never run.

    A dictionary under the key "state_dict" is unwrapped. Raises BadInput for anything but a dictionary.
    """
    if file.is_dir():
        raise BadInput(f"{file} is a folder. Use it directly with --checkpoint.")
    if not file.is_file():
        raise BadInput(f"No file at {file}. Check the path.")
    try:
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load passes on whatever a file of another format raises in its readers
        if "GLOBAL" in str(error):
            raise BadInput(
                f"{file.name} contains code, which was not run. Save only the network's state_dict()."
            ) from error
        raise BadInput(
            f"{file.name} is not a file of plain tensors from PyTorch, or is damaged. Download it again."
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise BadInput(f"{file.name} contains a {type(content).__name__}, not a state dict. {SUPPORTED}.")
    return content
