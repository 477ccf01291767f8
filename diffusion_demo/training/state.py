"""Training state of a checkpoint, from which a run resumes bit-exactly: safetensors and JSON, no pickle.

No state of random generators is needed, because all random numbers of step n are derived from (seed, n).
"""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diffusion_demo.diffusion.timesteps import LossAwareTimesteps
from diffusion_demo.errors import BadInput
from diffusion_demo.untrusted_files import check_readable, check_regular, read_json

TIMESTEPS_FILE = "timesteps.safetensors"


class _EarlyStoppingState(BaseModel):
    """Return value of `EarlyStopping.state`."""

    best: float | None
    best_step: int
    worse: int


class _Counters(BaseModel):
    """Types of the counters that a resumed call reads. Earlier releases did not write the last two."""

    model_config = ConfigDict(strict=True)

    step: int
    initial_images: int
    ema_steps: int
    schedule: dict[str, Any] = {}
    early_stopping: _EarlyStoppingState | None = None


def save_state(
    folder: Path,
    unet: nn.Module,
    optimizer: torch.optim.Optimizer,
    averages: dict[float, EMAModel],
    loss_aware: LossAwareTimesteps | None,
    counters: dict[str, Any],
) -> None:
    """Write a state folder: raw weights, moments of AdamW, weight averages, losses of `loss_aware`, and counters."""
    folder.mkdir(parents=True)
    weights = {name: weight.detach().contiguous() for name, weight in unet.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    moments = optimizer.state_dict()["state"]
    save_file(
        {f"{i}.{key}": value.contiguous() for i, entry in moments.items() for key, value in entry.items()},
        folder / "optimizer.safetensors",
    )
    for decay, average in averages.items():
        save_file(
            {str(i): p.contiguous() for i, p in enumerate(average.shadow_params)}, folder / f"ema_{decay}.safetensors"
        )
    if loss_aware:
        save_file({"losses": loss_aware.losses, "counts": loss_aware.counts}, folder / TIMESTEPS_FILE)
    counters = counters | {"ema_steps": next(iter(averages.values())).optimization_step}
    (folder / "counters.json").write_text(json.dumps(counters) + "\n", encoding="utf-8")


def read_counters(folder: Path) -> dict[str, Any]:
    """Return the counters of a state folder. Raises BadInput when they cannot be read."""
    try:
        counters = read_json(folder / "counters.json")
        _Counters.model_validate(counters)
        return counters
    except (OSError, ValueError) as error:
        raise _damaged(folder) from error


def load_state(
    folder: Path,
    unet: nn.Module,
    optimizer: torch.optim.Optimizer,
    averages: dict[float, EMAModel],
    loss_aware: LossAwareTimesteps | None,
) -> dict[str, Any]:
    """Load a state folder into newly built objects and return the counters. Raises BadInput when it is damaged."""
    try:
        return _load_state(folder, unet, optimizer, averages, loss_aware)
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise _damaged(folder) from error


def _damaged(folder: Path) -> BadInput:
    check_readable(folder)
    return BadInput(
        f"{folder} is damaged or incomplete. Remove {folder.parent} to resume from the checkpoint before it."
    )


def _load_state(
    folder: Path,
    unet: nn.Module,
    optimizer: torch.optim.Optimizer,
    averages: dict[float, EMAModel],
    loss_aware: LossAwareTimesteps | None,
) -> dict[str, Any]:
    for file in folder.iterdir():
        check_regular(file)
    weights = load_file(folder / "weights.safetensors")
    # Release 0.1.0 saved the names of torch.compile's wrapper, too.
    unet.load_state_dict({name.replace("_orig_mod.", ""): weight for name, weight in weights.items()})
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in load_file(folder / "optimizer.safetensors").items():
        index, key = name.split(".", 1)
        moments.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
    counters = read_counters(folder)
    for decay, average in averages.items():
        shadow = load_file(folder / f"ema_{decay}.safetensors")
        for i, parameter in enumerate(average.shadow_params):
            parameter.copy_(shadow[str(i)])
        average.optimization_step = counters["ema_steps"]
    if loss_aware:
        tensors = load_file(folder / TIMESTEPS_FILE)
        loss_aware.losses, loss_aware.counts = tensors["losses"], tensors["counts"]
    return counters
