"""What x_t still knows of x_0: images brought back from a noise level t. DDPM section 4.3."""

from collections.abc import Iterator

from torch import Tensor

from diffusion_demo.diffusion.process import Denoiser, Diffusion
from diffusion_demo.diffusion.samplers import Noise, Step, ddpm


def reconstruct(
    model: Denoiser, diffusion: Diffusion, xt: Tensor, t: int, noise: Noise, *, clip: bool = True, **condition
) -> Iterator[Step]:
    """Draws of p_theta(x_0 | x_t) for x_t [N, C, H, W] at index t: one for each row, which may all be the same x_t. DDPM Figure 7.

    Raises IndexError for a t outside the chain.
    """
    if not 0 <= t < len(diffusion):
        raise IndexError(f"t must lie in 0 .. {len(diffusion) - 1}, not {t}")
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
    **condition,
) -> Iterator[Step]:
    """Images between a and b, each [1, C, H, W]: (1 - share) a_t + share b_t for each share [N], brought back from t. DDPM Figure 8.

    noise() gives [N, C, H, W]; its first two draws' first rows noise a and b, independently of each other and of nothing else's.
    The mix is linear, as in the paper, so its noise is weaker in the middle. Raises IndexError for a t outside the chain.
    """
    at, bt = diffusion.q_sample(a, t, noise()[:1]), diffusion.q_sample(b, t, noise()[:1])
    weights = shares.to(a).reshape(-1, *[1] * (a.ndim - 1))
    return reconstruct(model, diffusion, (1 - weights) * at + weights * bt, t, noise, clip=clip, **condition)
