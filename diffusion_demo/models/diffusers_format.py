"""Read checkpoints that diffusers wrote: where their parts are, and the metadata of those without our metadata file.

Supported are UNet2DModels in pixel space with the chain of a DDPMScheduler or DDIMScheduler. A DDIMScheduler does not
name the variance that the model was trained for; it is read as fixed_small, the default of diffusers. The scheduler's
clipping and step spacing are ignored, because our samplers set their own. Everything else raises BadInput.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from diffusion_demo.errors import BadInput
from diffusion_demo.models.hub import local_folder
from diffusion_demo.models.metadata import NOT_A_CHECKPOINT, CheckpointMetadata
from diffusion_demo.validation import read_json

WEIGHTS, PICKLED = "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"
SCHEDULERS = ("DDPMScheduler", "DDIMScheduler")
SUPPORTED = "Use a UNet2DModel in pixel space with a DDPMScheduler or DDIMScheduler"


class Parts(NamedTuple):
    """The folders of a checkpoint's network and scheduler."""

    unet: Path
    scheduler: Path


def find_parts(folder: Path) -> Parts:
    """Return unet/ and scheduler/, or `folder` for a part without its own folder, as in old diffusers repositories."""
    parts = ("unet", "config.json"), ("scheduler", "scheduler_config.json")
    return Parts(*(folder / name if (folder / name / file).is_file() else folder for name, file in parts))


def fetch_weights(checkpoint: str | Path, folder: Path) -> Path:
    """Return the safetensors file of a checkpoint's network, downloading it first for a Hub model.

    `folder` is the checkpoint's local folder. Raises BadInput if there is no such file.
    """
    unet = find_parts(folder).unet
    weights = unet / WEIGHTS
    local_folder(checkpoint, [weights.relative_to(folder).as_posix()])
    if not weights.is_file():
        raise BadInput(_missing_weights(checkpoint, unet))
    return weights


def _missing_weights(checkpoint: str | Path, unet: Path) -> str:
    name = Path(checkpoint).as_posix()
    if not Path(checkpoint).is_dir():
        code = f"DiffusionPipeline as P; P.from_pretrained('{name}').save_pretrained('{Path(name).name}')"
        return (
            f"{name} has no {WEIGHTS} on the Hub or in the local cache. "
            f"If it has pickled weights, convert them: {_import_command(code)}."
        )
    if (unet / PICKLED).is_file():
        path = unet.as_posix()
        code = f"UNet2DModel as U; U.from_pretrained('{path}').save_pretrained('{path}')"
        return (
            f"The weights of {checkpoint} are pickled and could run code, so they are not loaded. "
            f"Convert them: {_import_command(code)}."
        )
    return f"{unet} is damaged or incomplete: {WEIGHTS} is missing. Copy the checkpoint again, or train it again."


def _import_command(code: str) -> str:
    return f'python -c "from diffusers import {code}"'


def diffusers_metadata(folder: Path, name: str) -> CheckpointMetadata:
    """Return the metadata of a diffusers folder. Classes are named by their indices; no null class is assumed.

    Raises BadInput, in which `name` identifies the model, if the model is not supported.
    """
    index, parts = _read_json(folder / "model_index.json"), find_parts(folder)
    network, scheduler = _read_json(parts.unet / "config.json"), _read_json(parts.scheduler / "scheduler_config.json")
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
    channels = _image_channels(network, scheduler, name)
    steps, betas = scheduler.get("num_train_timesteps", 1000), scheduler.get("trained_betas")
    num_classes = network.get("num_class_embeds") or 0
    return CheckpointMetadata(
        _image_size(network, name), channels, len(betas) if betas else steps, tuple(map(str, range(num_classes)))
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
    if len(sides) != 1 or not isinstance(side := sides.pop(), int):
        raise BadInput(
            f"The network of {name} has sample_size {json.dumps(size)}. "
            "Set it to the side of its square images in pixels."
        )
    return side


def _image_channels(network: dict[str, Any], scheduler: dict[str, Any], name: str) -> int:
    """Return the number of image channels. The defaults are those of diffusers.

    Raises BadInput for a network whose inputs or outputs are not supported.
    """
    channels, outputs = network.get("in_channels", 3), network.get("out_channels", 3)
    variance = scheduler.get("variance_type", "fixed_small")
    wanted = channels * 2 if variance == "learned_range" else channels
    if channels not in (1, 3):
        raise BadInput(f"The network of {name} has {channels} channels. Use a model of 1 (grayscale) or 3 (color).")
    if outputs != wanted:
        raise BadInput(
            f"The network of {name} has {channels} input and {outputs} output channels. "
            f"For variance type {variance}, set out_channels to {wanted}."
        )
    if network.get("time_embedding_type", "positional") == "fourier":
        raise BadInput(f"The network of {name} takes noise levels (fourier). Use a model that takes timesteps.")
    if (embedding := network.get("class_embed_type")) is not None:
        raise BadInput(
            f"The network of {name} has class_embed_type {embedding}. Use a model with a class embedding table (null)."
        )
    return channels


def _read_json(file: Path) -> dict[str, Any]:
    """Return the contents of a JSON file, or an empty dict if the file does not exist."""
    if not file.is_file():
        return {}
    try:
        return dict(read_json(file))
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"Cannot read {file} ({error}). Copy the checkpoint again.") from error
