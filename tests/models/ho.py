"""A tiny network with the settings of google/ddpm-cifar10-32, the older layout of its folder, and how one is refused."""

from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import load_checkpoint


def ho_network(**settings):
    """google/ddpm-cifar10-32's settings at a tiny width, with random weights."""
    torch.manual_seed(0)
    shape = {"block_out_channels": (32, 64), "layers_per_block": 1, "sample_size": 16}
    blocks = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    ho = {
        "downsample_padding": 0,
        "freq_shift": 1,
        "flip_sin_to_cos": False,
        "norm_eps": 1e-6,
        "attention_head_dim": None,
    }
    return UNet2DModel(**shape | blocks | ho | settings)


def ho_scheduler(**settings):
    return DDPMScheduler(**{"variance_type": "fixed_large", "num_train_timesteps": 100} | settings)


def at_the_root(folder):
    """The older layout: config and weights beside model_index.json, attention named as it was."""
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
    """The sentence with which a model is refused."""
    with pytest.raises(BadInput) as caught:
        load_checkpoint(checkpoint)
    message = str(caught.value)
    assert (name or Path(checkpoint).name) in message
    assert "\n" not in message and message.endswith(".") and len(message.replace(str(checkpoint), "FOLDER")) < 260, (
        message
    )
    return message
