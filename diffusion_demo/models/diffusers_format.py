"""Read checkpoints that diffusers wrote: where their parts are, and the metadata of those without our metadata file.

Supported are UNet2DModels in pixel space with the chain of a DDPMScheduler or DDIMScheduler. A DDIMScheduler does not
name the variance that the model was trained for; it is read as fixed_small, the default of diffusers.
diffusers_config_keys.py lists how each key of the configs is handled. Everything else raises BadInput.
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from diffusion_demo.errors import BadInput
from diffusion_demo.models.diffusers_config_keys import (
    MAX_SIDE,
    NETWORK_KEYS,
    check_keys,
    normalized_scheduler_config,
    read_config,
)
from diffusion_demo.models.metadata import NOT_A_CHECKPOINT, CheckpointMetadata

SCHEDULERS = ("DDPMScheduler", "DDIMScheduler")
SUPPORTED = "Use a UNet2DModel in pixel space with a DDPMScheduler or DDIMScheduler"


class Parts(NamedTuple):
    """The folders of a checkpoint's network and scheduler."""

    unet: Path
    scheduler: Path


def find_parts(folder: Path) -> Parts:
    """Return the folders of the network and of the scheduler.

    The network is in unet/, in unet_ema/ (as diffusers' training script writes it) or, as in the oldest repositories,
    in `folder`. The scheduler is in scheduler/ or in `folder` or, for a network inside a pipeline's or a training
    folder, in the scheduler/ of one of the two folders above. Raises BadInput if there are two networks to choose from.
    """
    networks = [folder / name for name in ("unet", "unet_ema") if os.path.isfile(folder / name / "config.json")]
    if len(networks) > 1 and not os.path.isfile(folder / "model_index.json"):
        raise BadInput(
            f"{folder} holds two networks. Choose {networks[1]} (averaged weights, usually better) or {networks[0]}."
        )
    above = folder.resolve().parents[:2]
    places = [folder / "scheduler", folder, *(parent / "scheduler" for parent in above)]
    schedulers = [place for place in places if os.path.isfile(place / "scheduler_config.json")]
    return Parts(networks[0] if networks else folder, schedulers[0] if schedulers else folder)


def diffusers_metadata(folder: Path, name: str) -> CheckpointMetadata:
    """Return the metadata of a diffusers folder. Classes are named by their indices; no null class is assumed.

    Raises BadInput, in which `name` identifies the model, if the model is not supported.
    """
    index, parts = read_config(folder / "model_index.json"), find_parts(folder)
    network, scheduler = read_config(parts.unet / "config.json"), read_config(parts.scheduler / "scheduler_config.json")
    kind = _class_name(index, network)
    if kind is None:
        raise BadInput(NOT_A_CHECKPOINT.format(name))
    if kind != "UNet2DModel":
        raise BadInput(f"{name} contains {kind}, which is not supported. {SUPPORTED}.")
    if not scheduler:
        raise BadInput(
            f"{name} has no scheduler_config.json, so its noise schedule is unknown. Copy it from the original model."
        )
    if (scheduler_class := scheduler.get("_class_name")) not in SCHEDULERS:
        raise BadInput(f"{name} has the scheduler {scheduler_class}, which is not supported. {SUPPORTED}.")
    check_keys(network, NETWORK_KEYS, name, "config.json")
    settings = normalized_scheduler_config(scheduler, name)
    channels = _image_channels(network, settings["variance_type"], name)
    _check_time_embedding(network, settings["num_train_timesteps"], name)
    num_classes = network.get("num_class_embeds") or 0
    return CheckpointMetadata(
        _image_size(network, name), channels, settings["num_train_timesteps"], tuple(map(str, range(num_classes)))
    )


def _class_name(index: dict[str, Any], network: dict[str, Any]) -> str | None:
    """Return the pipeline's class if it has more parts than a network and a scheduler, else the network's class."""
    components = {name for name, value in index.items() if isinstance(value, list) and value[:1] != [None]}
    if components - {"unet", "scheduler"}:
        return index.get("_class_name")
    names = [network.get("_class_name"), *(network.get("architectures") or []), network.get("model_type")]
    return next(filter(None, names), None)


def _image_size(network: dict[str, Any], name: str) -> int:
    size = network.get("sample_size")
    sides = set(size) if isinstance(size, list) else {size}
    if len(sides) != 1 or not isinstance(side := sides.pop(), int) or not 1 <= side <= MAX_SIDE:
        raise BadInput(
            f"The network of {name} has sample_size {json.dumps(size)}. "
            f"Set it to the side of its square images in pixels, at most {MAX_SIDE}."
        )
    step = 2 ** (len(network.get("block_out_channels", NETWORK_KEYS["block_out_channels"].default)) - 1)
    if side % step:
        raise BadInput(f"The network of {name} has sample_size {side}, which is not a multiple of {step}. Change it.")
    return side


def _image_channels(network: dict[str, Any], variance: str, name: str) -> int:
    """Return the number of image channels. The defaults are those of diffusers.

    Raises BadInput for a network whose inputs or outputs are not supported.
    """
    channels, outputs = network.get("in_channels", 3), network.get("out_channels", 3)
    wanted = channels * 2 if variance == "learned_range" else channels
    if channels not in (1, 3):
        raise BadInput(f"The network of {name} has {channels} channels. Use a model of 1 (grayscale) or 3 (color).")
    if outputs != wanted:
        raise BadInput(
            f"The network of {name} has {channels} input and {outputs} output channels. "
            f"For variance type {variance}, set out_channels to {wanted}."
        )
    return channels


def _check_time_embedding(network: dict[str, Any], steps: int, name: str) -> None:
    rows = network.get("num_train_timesteps") or 0
    if network.get("time_embedding_type") == "learned" and rows < steps:
        raise BadInput(
            f"The network of {name} has embeddings for {rows} timesteps, its scheduler {steps}. "
            "Set both to the same number."
        )
