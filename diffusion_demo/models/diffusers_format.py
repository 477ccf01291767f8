"""Models that the diffusers library wrote, ours or not: where their parts lie, and what a folder without our description says of itself.

What can be used is a UNet2DModel that works on pixels with the chain of a DDPMScheduler or a DDIMScheduler. A DDIMScheduler does not say
which variance the model was trained for: it is read as fixed_small, diffusers' own default. How a scheduler clips and spaces its steps is a
sampler's business, and ours have their own way. Anything else is refused by name.
"""

import json
from pathlib import Path
from typing import NamedTuple

from diffusion_demo.errors import BadInput
from diffusion_demo.models.hub import local_folder
from diffusion_demo.models.metadata import NO_CHECKPOINT, CheckpointMetadata

WEIGHTS, PICKLED = "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"
SCHEDULERS = ("DDPMScheduler", "DDIMScheduler")
USABLE = "what can be used here is a UNet2DModel that works on pixels, with a DDPMScheduler or a DDIMScheduler"


class Parts(NamedTuple):
    """The folders of a checkpoint's network and scheduler."""

    unet: Path
    scheduler: Path


def find_parts(folder: Path) -> Parts:
    """unet/ and scheduler/ or, for a part that has no folder of its own, the root: as diffusers reads it, and once wrote it."""
    parts = ("unet", "config.json"), ("scheduler", "scheduler_config.json")
    return Parts(*(folder / name if (folder / name / file).is_file() else folder for name, file in parts))


def find_weights(checkpoint: str | Path, folder: Path) -> Path:
    """The safetensors file of the network of a checkpoint, whose folder here is `folder`: fetched, where the checkpoint is the Hub's.

    Raises BadInput where there is none.
    """
    unet = find_parts(folder).unet
    weights = unet / WEIGHTS
    local_folder(checkpoint, [weights.relative_to(folder).as_posix()])
    if weights.is_file():
        return weights
    if not Path(checkpoint).is_dir():
        name = Path(checkpoint).as_posix()
        convert = f"from diffusers import DiffusionPipeline as P; P.from_pretrained('{name}').save_pretrained('{Path(name).name}')"
        raise BadInput(
            f"{name} has no {WEIGHTS}, on the Hub or in its cache here; if it has pickled weights, convert them: {_python(convert)}."
        )
    if (unet / PICKLED).is_file():
        convert = f"from diffusers import UNet2DModel as U; U.from_pretrained('{unet.as_posix()}').save_pretrained('{unet.as_posix()}')"
        raise BadInput(
            f"The weights of {checkpoint} are pickled, which is not read as it can run any code; convert them: {_python(convert)}."
        )
    raise BadInput(
        f"{unet} is damaged or incomplete: it lacks {WEIGHTS}; copy the checkpoint again, or train it again."
    )


def _python(code: str) -> str:
    return f'python -c "{code}"'


def diffusers_metadata(folder: Path, name: str) -> CheckpointMetadata:
    """What a diffusers folder says of its model: size, channels and, where it has classes, their numbers for names; no null class is known.

    `name` is what the model is called in the sentence of the BadInput that is raised when it cannot be used here.
    """
    index, parts = _json(folder / "model_index.json"), find_parts(folder)
    network, scheduler = _json(parts.unet / "config.json"), _json(parts.scheduler / "scheduler_config.json")
    kind = _kind(index, network)
    if kind is None:
        raise BadInput(NO_CHECKPOINT.format(name))
    if kind != "UNet2DModel":
        raise BadInput(f"{name} holds a {kind}; {USABLE}.")
    if not scheduler:
        raise BadInput(
            f"{name} has no scheduler_config.json, so its noise schedule is not known; copy it from where the model came from."
        )
    if (found := scheduler.get("_class_name")) not in SCHEDULERS:
        raise BadInput(f"{name} has a {found}; {USABLE}.")
    channels = _channels(network, scheduler, name)
    steps, betas = scheduler.get("num_train_timesteps", 1000), scheduler.get("trained_betas")
    classes = network.get("num_class_embeds") or 0
    return CheckpointMetadata(
        _side(network, name), channels, len(betas) if betas else steps, tuple(map(str, range(classes)))
    )


def _kind(index: dict, network: dict) -> str | None:
    """The class of what a folder holds: the pipeline's where it has more than a network and a scheduler, else the network's."""
    components = {name for name, value in index.items() if isinstance(value, list) and value[:1] != [None]}
    if components - {"unet", "scheduler"}:
        return index.get("_class_name")
    names = [network.get("_class_name"), *(network.get("architectures") or []), network.get("model_type")]
    return next(filter(None, names), None)


def _side(network: dict, name: str) -> int:
    size = network.get("sample_size")
    sides = set(size) if isinstance(size, list) else {size}
    if len(sides) != 1 or not isinstance(side := sides.pop(), int):
        raise BadInput(
            f"The network of {name} has sample_size {json.dumps(size)}; write the side of its images there, which must be square."
        )
    return side


def _channels(network: dict, scheduler: dict, name: str) -> int:
    """The images' channels, where the network's way of being called is the one that is known here; the defaults are diffusers' own."""
    channels, out = network.get("in_channels", 3), network.get("out_channels", 3)
    variance = scheduler.get("variance_type", "fixed_small")
    wanted = channels * 2 if variance == "learned_range" else channels
    if channels not in (1, 3):
        raise BadInput(
            f"The network of {name} works on {channels} channels; only images of 1 (grayscale) or 3 (color) can be made here."
        )
    if out != wanted:
        raise BadInput(
            f"The network of {name} answers {out} channels to {channels}; with the variance type {variance} it must be {wanted}."
        )
    if network.get("time_embedding_type", "positional") == "fourier":
        raise BadInput(f"The network of {name} is told a noise level (fourier), not a timestep; {USABLE}.")
    if (labels := network.get("class_embed_type")) is not None:
        raise BadInput(
            f"The network of {name} takes its labels as {labels}, not from a table of classes, which is the only way known here."
        )
    return channels


def _json(file: Path) -> dict:
    """What a JSON file holds; nothing where it is not there."""
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise BadInput(f"{file} cannot be read ({error}); copy the checkpoint again.") from error
