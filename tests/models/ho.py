"""Test helpers: a tiny google/ddpm-cifar10-32, the old folder layout of diffusers, and error messages."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import load_checkpoint


def ho_network(**settings):
    """Return a narrow network with the settings of google/ddpm-cifar10-32 and random weights."""
    torch.manual_seed(0)
    defaults: dict[str, Any] = {
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "sample_size": 16,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "downsample_padding": 0,
        "freq_shift": 1,
        "flip_sin_to_cos": False,
        "norm_eps": 1e-6,
        "attention_head_dim": None,
    }
    return UNet2DModel(**defaults | settings)


def ho_scheduler(**settings):
    """Return a scheduler of 100 steps with the fixed large variance."""
    return DDPMScheduler(**{"variance_type": "fixed_large", "num_train_timesteps": 100} | settings)


def at_the_root(folder):
    """Convert a folder to the old layout: config and weights beside model_index.json, and old names for attention."""
    for part in ("unet", "scheduler"):
        for file in (folder / part).iterdir():
            file.rename(folder / file.name)
        (folder / part).rmdir()
    weights = folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        tensors = {name.replace(new, old): tensor for name, tensor in tensors.items()}
    save_file(tensors, weights, metadata={"format": "pt"})


def refusal(checkpoint, name=None):
    """Return the error message for a checkpoint; assert that it names the checkpoint and is one short line."""
    with pytest.raises(BadInput) as caught:
        load_checkpoint(checkpoint)
    message = str(caught.value)
    assert (name or Path(checkpoint).name) in message
    assert "\n" not in message and message.endswith(".") and len(message.replace(str(checkpoint), "FOLDER")) < 260, (
        message
    )
    return message
