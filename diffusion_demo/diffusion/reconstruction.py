"""Reconstruction of images from x_t, and interpolation in x_t. DDPM section 4.3."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from diffusion_demo.diffusion.denoiser import Denoiser
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.samplers import Noise, Step, ddpm


def reconstruct(
    model: Denoiser, diffusion: Diffusion, xt: Tensor, t: int, noise: Noise, *, clip: bool = True, **condition: Any
) -> Iterator[Step]:
    """Sample from p_theta(x_0 | x_t), one sample for each row of x_t [N, C, H, W] at index t. DDPM Figure 7.

    The rows may be copies of one x_t. Raises IndexError for a t outside the chain.
    """
    if not 0 <= t < len(diffusion):
        raise IndexError(f"t must be in 0 .. {len(diffusion) - 1}, not {t}")
    return ddpm(model, diffusion.up_to(t), xt, noise, clip=clip, **condition)


def interpolate(
    model: Denoiser,
    diffusion: Diffusion,
    a: Tensor,
    b: Tensor,
    shares: Tensor,
    t: int,
    noise: Noise,
    *,
    clip: bool = True,
    **condition: Any,
) -> Iterator[Step]:
    """Interpolate between images a and b: denoise (1 - share) a_t + share b_t for each share. DDPM Figure 8.

    a and b are [1, C, H, W], shares is [N], and noise() returns [N, C, H, W]. The first rows of its first two samples
    are the noise of a_t and b_t. Interpolation is linear, as in the paper, so the noise variance is lower between the
    ends. Raises IndexError for a t outside the chain.
    """
    at, bt = diffusion.q_sample(a, t, noise()[:1]), diffusion.q_sample(b, t, noise()[:1])
    weights = shares.to(a).reshape(-1, *[1] * (a.ndim - 1))
    return reconstruct(model, diffusion, (1 - weights) * at + weights * bt, t, noise, clip=clip, **condition)
