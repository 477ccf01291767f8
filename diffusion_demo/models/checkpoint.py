"""A checkpoint folder: what diffusers.DDPMPipeline.from_pretrained opens, plus a description and a model card."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors import SafetensorError
from torch import nn

from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import cosine_betas, quadratic_betas, sigmoid_betas
from diffusion_demo.errors import BadInput
from diffusion_demo.models.adapt import with_null_class
from diffusion_demo.models.classifier import Classifier, load_classifier
from diffusion_demo.models.diffusers_format import WEIGHTS, find_parts, find_weights
from diffusion_demo.models.hub import local_folder
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import CLASSIFIER, ORACLES, VARIANCE_TYPES, CheckpointMetadata, has_classifier
from diffusion_demo.models.openai.network import network_class
from diffusion_demo.models.oracle_models import build_oracle

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network, or an oracle or a classifier in its place, with what is needed to sample from it; `weights` is a short digest of its file.

    Its table of classes ends with the null class's row, trained or not. classifier is one that can guide it, with the same chain and classes.
    """

    unet: nn.Module
    diffusion: Diffusion
    description: CheckpointMetadata
    beta_schedule: str
    weights: str = ""
    classifier: Classifier | None = None


def load_checkpoint(folder: str | Path, device: torch.device | str = "cpu") -> Checkpoint:
    """The checkpoint in `folder`, ours or diffusers', or the Hub's of that name, its network in float32 and eval mode; or the oracle of that name.

    Raises BadInput with one sentence when it cannot be had.
    """
    if str(folder) in ORACLES:
        oracle = build_oracle(str(folder))
        return Checkpoint(oracle.network, oracle.diffusion, load_metadata(folder), oracle.beta_schedule, oracle.weights)
    description, home = load_metadata(folder), local_folder(folder)
    if description.task == "classifier":
        return _load_classifier(home, description, device)
    weights, parts = find_weights(folder, home), find_parts(home)
    unet = with_null_class(_read(parts.unet, _network), description.class_names)
    scheduler = _scheduler(parts.scheduler)
    unet = unet.to(device, memory_format=torch.channels_last).eval()  # a tenth faster on a CPU with AVX2
    classifier = load_classifier(home / CLASSIFIER, device) if has_classifier(home) else None
    chain, schedule = make_diffusion(scheduler.config), scheduler.config["beta_schedule"]
    return Checkpoint(unet, chain, description, schedule, _digest(weights), classifier)


def _load_classifier(folder: Path, description: CheckpointMetadata, device: torch.device | str) -> Checkpoint:
    network, scheduler = load_classifier(folder / CLASSIFIER, device), _scheduler(folder / "scheduler")
    return Checkpoint(
        network,
        make_diffusion(scheduler.config),
        description,
        scheduler.config["beta_schedule"],
        _digest(folder / CLASSIFIER / WEIGHTS),
    )


def with_classifier(checkpoint: Checkpoint, folder: str | Path) -> Checkpoint:
    """The checkpoint with the classifier of that checkpoint folder. Raises BadInput where it knows other images, noise or classes.

    A model without classes gets the classifier's for what can be asked for: Guided Diffusion guides such models, too.
    """
    other = load_checkpoint(folder, checkpoint.unet.device)
    theirs, ours = other.description, checkpoint.description
    if theirs.task != "classifier":
        raise BadInput(f"{folder} is no classifier; train one with --task classifier.")
    if (theirs.image_size, theirs.channels) != (ours.image_size, ours.channels):
        size = f"{theirs.image_size} pixels and {theirs.channels} channels"
        raise BadInput(
            f"The classifier in {folder} knows images of {size}, but the model makes others; train one on the model's."
        )
    if not torch.equal(other.diffusion.abar, checkpoint.diffusion.abar):
        raise BadInput(
            f"The classifier in {folder} was trained on another noise schedule than the model; train one on the model's."
        )
    if unknown := [name for name in ours.class_names if name not in theirs.class_names]:
        raise BadInput(
            f"The classifier in {folder} does not know the model's class {unknown[0]}; train one on the same classes."
        )
    return replace(
        checkpoint, classifier=other.unet, description=replace(ours, class_names=ours.class_names or theirs.class_names)
    )


def _network(path: Path) -> UNet2DModel:
    options = {
        "use_safetensors": True,
        "local_files_only": True,
        "low_cpu_mem_usage": False,
        "output_loading_info": True,
    }
    unet, info = network_class(path).from_pretrained(path, **options)
    if info["missing_keys"] or info["unexpected_keys"]:
        raise ValueError("diffusers would leave weights at random, or out")
    return unet


def _scheduler(path: Path) -> DDPMScheduler:
    return _read(
        path, lambda path: DDPMScheduler.from_pretrained(path, local_files_only=True)
    )  # reads a DDIMScheduler's config too


def _digest(weights: Path) -> str:
    return _read(weights, lambda path: hashlib.sha256(path.read_bytes()).hexdigest()[:12])


def _read(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except (OSError, SafetensorError, ValueError, TypeError, RuntimeError, KeyError) as error:
        raise BadInput(f"{path} is damaged or incomplete; copy the checkpoint again, or train it again.") from error


def make_diffusion(config) -> Diffusion:
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
    if config["rescale_betas_zero_snr"]:
        raise BadInput(
            "The scheduler rescales its betas to end in pure noise (rescale_betas_zero_snr), which is not known here."
        )
    if (
        config["variance_type"] not in VARIANCE_TYPES
    ):  # "learned" is a variance in diffusers, and its logarithm in the papers' code and ours
        raise BadInput(
            f"The variance type {config['variance_type']!r} is not known here; it must be one of {', '.join(VARIANCE_TYPES)}."
        )
    try:
        return Diffusion(betas, config["prediction_type"], config["variance_type"])
    except ValueError as error:
        raise BadInput(f"The checkpoint's scheduler cannot be used: {error}.") from error


def make_scheduler(beta_schedule: str, diffusion: Diffusion) -> DDPMScheduler:
    """The diffusers scheduler of a chain: by the schedule's name, a linear one with its real ends; as trained_betas where that is not the chain."""
    common = {
        "num_train_timesteps": len(diffusion),
        "beta_schedule": beta_schedule,
        "prediction_type": diffusion.prediction_type,
        "variance_type": diffusion.variance_type,
        "clip_sample": True,
    }
    ends = {"beta_start": float(diffusion.betas[0]), "beta_end": float(diffusion.betas[-1])}
    named = {"linear": ends, "scaled_linear": ends, "sigmoid": {}, "squaredcos_cap_v2": {}}
    if beta_schedule in named:
        scheduler = DDPMScheduler(**common, **named[beta_schedule])
        if torch.allclose(make_diffusion(scheduler.config).betas, diffusion.betas, rtol=1e-12, atol=0):
            return scheduler
    return DDPMScheduler(**common, trained_betas=diffusion.betas.tolist())


def save_checkpoint(
    folder: Path, unet: UNet2DModel, scheduler: DDPMScheduler, description: CheckpointMetadata, card: str
) -> None:
    """Write a whole checkpoint folder, which must not exist yet. The caller renames it into place."""
    DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(folder, safe_serialization=True)
    description.save(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def copy_as_float16(source: Path, target: Path) -> None:
    """Copy a checkpoint folder without its training state and with float16 weights, small enough to ship."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("state"))
    UNet2DModel.from_pretrained(source / "unet", local_files_only=True).half().save_pretrained(target / "unet")
