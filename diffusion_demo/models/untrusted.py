"""Checks of a checkpoint's configs before anything is built from them, because a few bytes can ask for any network."""

import math
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from safetensors import safe_open

from diffusion_demo.validation import read_json

WEIGHTS = "diffusion_pytorch_model.safetensors"
MAX_LEVELS, MAX_LAYERS, MAX_NUMBER, MAX_TIMESTEPS = 16, 64, 1_000_000, 100_000

NUMBERS = ("norm_eps", "dropout", "mid_block_scale_factor", "freq_shift", "downsample_padding")  # used in a step only


def check_network(kind: type[ModelMixin], folder: Path) -> None:
    """Raise ValueError unless the network of config.json has as many parameters as the file of weights.

    The network is built without memory, and only the header of the weights is read. Old diffusers files have other
    names for some parameters, so names are not compared. Weights in several files are not compared either.
    """
    config = read_json(folder / "config.json")
    _check_numbers(config)
    try:
        with torch.device("meta"):
            network: Any = kind.from_config(config)  # pyright: ignore[reportAttributeAccessIssue]
    except Exception as error:  # of any type, as diffusers does not check its configs
        raise ValueError("config.json describes no network") from error
    if (folder / WEIGHTS).is_file():
        with safe_open(folder / WEIGHTS, "pt") as weights:
            stored = sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
        if stored != sum(tensor.numel() for tensor in network.state_dict().values()):
            raise ValueError("the weights are those of another network")


def check_scheduler(folder: Path) -> None:
    """Raise ValueError for a chain that is too long for this package."""
    config = read_json(folder / "scheduler_config.json")
    steps, betas = config.get("num_train_timesteps", 1000), config.get("trained_betas") or ()
    if type(steps) is not int or not 1 <= steps <= MAX_TIMESTEPS or len(betas) > MAX_TIMESTEPS:
        raise ValueError(f"the chain must have from 1 to {MAX_TIMESTEPS} steps")


def _check_numbers(config: Any) -> None:
    if not isinstance(config, dict):
        raise ValueError("config.json is not an object")
    layers = config.get("layers_per_block", 1)
    if type(layers) is not int or not 0 <= layers <= MAX_LAYERS:
        raise ValueError(f"layers_per_block must be from 0 to {MAX_LAYERS}")
    for name in NUMBERS:
        if not isinstance(config.get(name, 0), int | float):
            raise ValueError(f"{name} must be a number")
    for name, value in config.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and not abs(number) <= MAX_NUMBER:
                raise ValueError(f"{name} is too large")
        if isinstance(value, list) and len(value) > MAX_LEVELS:
            raise ValueError(f"{name} has too many entries")
