"""Optimal denoisers of sixteen images in closed form, in place of a network.

They are sampled, guided and evaluated as any checkpoint; their names are accepted wherever a checkpoint folder is.
"""

import hashlib
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from diffusion_demo.diffusion import oracles
from diffusion_demo.diffusion.denoiser import Denoiser
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.images import to_float
from diffusion_demo.paths import CHECKPOINTS

IMAGES = CHECKPOINTS / "avatars-32" / "showcase"  # the images that the page shows first
SCHEDULE, SPREAD = "squaredcos_cap_v2", 0.02


class OracleNetwork(nn.Module):
    """A closed-form denoiser with the call signature of UNet2DModel."""

    def __init__(self, denoiser: Denoiser):
        super().__init__()
        self.denoiser: Denoiser = denoiser
        self.device: torch.device = torch.device("cpu")

    def forward(
        self, xt: Tensor, t: Tensor, class_labels: Tensor | None = None, return_dict: bool = False
    ) -> tuple[Tensor]:
        return (self.denoiser(xt, t),)


class Oracle(NamedTuple):
    """An optimal denoiser with its chain; `weights` is a short digest of its images."""

    network: OracleNetwork
    diffusion: Diffusion
    beta_schedule: str
    weights: str


def build_oracle(name: str) -> Oracle:
    """Return the oracle called `name`, one of metadata.ORACLES. It predicts epsilon on the cosine schedule."""
    files = sorted(IMAGES.glob("seed_*.png"))
    pixels = torch.from_numpy(np.stack([np.asarray(Image.open(file)) for file in files])).permute(0, 3, 1, 2)
    diffusion = Diffusion(named_betas(SCHEDULE, 1000), "epsilon", "fixed_small")
    network = OracleNetwork(_BUILDERS[name](pixels, diffusion.abar)).eval()
    return Oracle(network, diffusion, SCHEDULE, hashlib.sha256(pixels.numpy().tobytes()).hexdigest()[:12])


def _memory(pixels: Tensor, abar: Tensor) -> Denoiser:
    return oracles.finite_set(to_float(pixels), abar)


def _mixture(pixels: Tensor, abar: Tensor) -> Denoiser:
    return oracles.mixture(to_float(pixels), SPREAD, abar)


def _gaussian(pixels: Tensor, abar: Tensor) -> Denoiser:
    dataset = to_float(pixels).double()
    mean = dataset.mean(0)
    return oracles.gaussian(mean, (dataset - mean).flatten(1) / len(dataset) ** 0.5, abar, floor=SPREAD)


def _pixels(pixels: Tensor, abar: Tensor) -> Denoiser:
    return oracles.pixels(nn.functional.one_hot(pixels.long(), 256).double().mean(0).permute(3, 0, 1, 2), abar)


_BUILDERS = {
    "oracle-memory": _memory,
    "oracle-mixture": _mixture,
    "oracle-gaussian": _gaussian,
    "oracle-pixels": _pixels,
}
