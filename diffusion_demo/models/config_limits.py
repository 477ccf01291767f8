"""Checks of a checkpoint's configs before a network is built: a few bytes can describe one of any size."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin

from diffusion_demo.errors import BadInput, first_line
from diffusion_demo.models.diffusers_config_keys import MAX_TIMESTEPS, NETWORK_KEYS
from diffusion_demo.models.weight_files import WeightFiles
from diffusion_demo.untrusted_files import read_json

MAX_LEVELS, MAX_LAYERS, MAX_NUMBER = 16, 64, 1_000_000

NUMBERS = ("norm_eps", "dropout", "mid_block_scale_factor", "freq_shift", "downsample_padding")  # used in a step only


def check_network(kind: type[ModelMixin], folder: Path, weights: WeightFiles) -> None:
    """Raise BadInput or ValueError unless the config.json in `folder` describes the network of these weights.

    The network is built without memory, and only the headers of the weights are read. Old diffusers files have other
    names for some parameters, so only the sizes of their layers and the number of parameters are compared.
    """
    config, shapes = read_json(folder / "config.json"), weights.shapes()
    unet = config.get("trunk") or config  # a classifier has the config of its trunk, and a list of class names
    _check_sizes(unet, shapes, folder)
    _check_numbers(unet, folder)
    try:
        with torch.device("meta"):
            network: Any = kind.from_config(config)  # pyright: ignore[reportAttributeAccessIssue]
    except Exception as error:  # diffusers and torch raise many kinds for values that do not go together
        reason = first_line(error)[:80]
        raise BadInput(f"Cannot build the network of {folder} from its config.json ({reason}).") from error
    if sum(map(math.prod, shapes.values())) != sum(tensor.numel() for tensor in network.state_dict().values()):
        raise ValueError("the weights belong to another network")


def check_scheduler(folder: Path) -> None:
    """Raise ValueError for a chain that is too long for this package."""
    config = read_json(folder / "scheduler_config.json")
    steps, betas = config.get("num_train_timesteps", 1000), config.get("trained_betas") or ()
    if type(steps) is not int or not 1 <= steps <= MAX_TIMESTEPS or len(betas) > MAX_TIMESTEPS:
        raise ValueError(f"the chain must have from 1 to {MAX_TIMESTEPS} steps")


def _check_numbers(config: Any, folder: Path) -> None:
    if not isinstance(config, dict):
        raise ValueError("config.json is not an object")
    layers = config.get("layers_per_block", 1)
    if type(layers) is not int or not 0 <= layers <= MAX_LAYERS:
        raise ValueError(f"layers_per_block must be from 0 to {MAX_LAYERS}")
    for name in NUMBERS:
        if not isinstance(config.get(name, 0), int | float):
            raise BadInput(
                f"{name} in {folder / 'config.json'} must be a number, not {str(config[name])[:80]!r}. Correct it."
            )
    for name, value in config.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and not abs(number) <= MAX_NUMBER:
                raise ValueError(f"{name} is too large")
        if isinstance(value, list) and len(value) > MAX_LEVELS:
            raise ValueError(f"{name} has too many entries")


def _check_sizes(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], folder: Path) -> None:
    """Raise BadInput unless the sizes in the config of a UNet2DModel are those of its weights or of its first half."""
    for key, stored in _sizes(shapes):
        said = config.get(key, NETWORK_KEYS[key].default)
        if (list(said) if isinstance(said, list | tuple) else said) != stored:
            raise BadInput(
                f"{folder} is damaged: its config.json says {key} {json.dumps(said, default=str)[:60]}, "
                f"its weights {json.dumps(stored)[:60]}. Copy the checkpoint again."
            )


def _sizes(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, Any]]:
    """Yield the config keys whose values the weights tell, with these values."""
    blocks = {name.split(".")[1] for name in shapes if name.startswith("down_blocks.")}
    convolutions = [shapes.get(f"down_blocks.{i}.resnets.0.conv1.weight", (None,)) for i in range(len(blocks))]
    yield "block_out_channels", [shape[0] for shape in convolutions]
    layers = {name.split(".")[3] for name in shapes if name.startswith("down_blocks.0.resnets.")}
    yield "layers_per_block", len(layers)
    yield "in_channels", shapes.get("conv_in.weight", (0, 0))[1]
    if "conv_out.weight" in shapes:
        yield "out_channels", shapes["conv_out.weight"][0]
        yield "num_class_embeds", shapes.get("class_embedding.weight", (None,))[0]
        if "time_proj.weight" in shapes and len(shapes["time_proj.weight"]) == 2:
            yield "num_train_timesteps", shapes["time_proj.weight"][0]
