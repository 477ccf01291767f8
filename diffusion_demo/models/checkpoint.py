"""A checkpoint folder: what diffusers.DDPMPipeline.from_pretrained opens, plus a description and a model card."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError
from torch import nn

from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import cosine_betas, quadratic_betas, sigmoid_betas
from diffusion_demo.errors import BadInput
from diffusion_demo.models.description import ORACLES, Description, describe

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network, or an oracle in its place, with everything that is needed to sample from it; `weights` is a short digest of its file."""

    unet: nn.Module
    diffusion: Diffusion
    description: Description
    beta_schedule: str
    weights: str = ""


def load_checkpoint(folder: str | Path, device: torch.device | str = "cpu") -> Checkpoint:
    """The checkpoint in `folder`, its network in float32 and eval mode, or the oracle of that name.

    Raises BadInput with one sentence when it cannot be had.
    """
    if str(folder) in ORACLES:
        from diffusion_demo.models.oracle import load_oracle

        return load_oracle(str(folder))
    folder = Path(folder)
    description = describe(folder)
    unet = _read(folder, "unet", lambda path: UNet2DModel.from_pretrained(path, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False))
    scheduler = _read(folder, "scheduler", lambda path: DDPMScheduler.from_pretrained(path, local_files_only=True))
    digest = _read(folder, "unet", lambda path: hashlib.sha256((path / SAFETENSORS_WEIGHTS_NAME).read_bytes()).hexdigest()[:12])
    unet = unet.to(device, memory_format=torch.channels_last).eval()  # twice as fast on a CPU with AVX2
    return Checkpoint(unet, diffusion_of(scheduler.config), description, scheduler.config["beta_schedule"], digest)


def _read(folder: Path, part: str, read: Callable[[Path], T]) -> T:
    try:
        return read(folder / part)
    except (OSError, SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise BadInput(f"{folder / part} is damaged or incomplete; copy the checkpoint again, or train it again.") from error


def diffusion_of(config) -> Diffusion:
    """The chain that a diffusers scheduler's config describes. Raises BadInput for one that cannot be read exactly."""
    steps, ends = config["num_train_timesteps"], (config["beta_start"], config["beta_end"])
    read = {
        "linear": lambda: torch.linspace(*ends, steps, dtype=torch.float64),
        "scaled_linear": lambda: quadratic_betas(steps, *ends),
        "sigmoid": lambda: sigmoid_betas(steps, *ends),
        "squaredcos_cap_v2": lambda: cosine_betas(steps),
    }
    if config["trained_betas"] is not None:
        betas = torch.tensor(config["trained_betas"], dtype=torch.float64)
    elif config["beta_schedule"] in read:
        betas = read[config["beta_schedule"]]()
    else:
        raise BadInput(f"The noise schedule {config['beta_schedule']!r} is not known here.")
    try:
        return Diffusion(betas, config["prediction_type"], config["variance_type"])
    except ValueError as error:
        raise BadInput(f"The checkpoint's scheduler cannot be used: {error}.") from error


def scheduler_of(beta_schedule: str, diffusion: Diffusion) -> DDPMScheduler:
    """The diffusers scheduler of a chain: a linear schedule with its real ends, one that diffusers does not name as trained_betas."""
    ends = {"beta_start": float(diffusion.betas[0]), "beta_end": float(diffusion.betas[-1])}
    named = {"linear": ends, "scaled_linear": ends, "sigmoid": {}, "squaredcos_cap_v2": {}}
    return DDPMScheduler(
        num_train_timesteps=len(diffusion),
        beta_schedule=beta_schedule,
        prediction_type=diffusion.prediction_type,
        variance_type=diffusion.variance_type,
        clip_sample=True,
        **named.get(beta_schedule, {"trained_betas": diffusion.betas.tolist()}),
    )


def save_checkpoint(folder: Path, unet: UNet2DModel, scheduler: DDPMScheduler, description: Description, card: str) -> None:
    """Write a whole checkpoint folder, which must not exist yet. The caller renames it into place."""
    DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(folder, safe_serialization=True)
    description.save(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def halve_weights(source: Path, target: Path) -> None:
    """Copy a checkpoint folder without its training state and with float16 weights, small enough to ship."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("state"))
    UNet2DModel.from_pretrained(source / "unet", local_files_only=True).half().save_pretrained(target / "unet")
