"""The variational bound on -log p(x_0) in bits per dimension: L_0 + L_1 + ... + L_{T-1} + L_T. DDPM Eq. 5."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffusion_demo.diffusion.denoiser import Denoiser, call_model
from diffusion_demo.diffusion.losses import decoder_term, kl_term, mean_flat, normal_kl
from diffusion_demo.diffusion.process import Diffusion, check_floating
from diffusion_demo.diffusion.samplers import Noise


@dataclass(frozen=True, eq=False)
class BoundTerm:
    """One term of the bound at index t of the chain, per example.

    bits      L_t in bits/dim, [N]
    x0_mse    mean squared error of the predicted x_0, [N]
    eps_mse   mean squared error of the predicted eps, [N]
    """

    t: int
    bits: Tensor
    x0_mse: Tensor
    eps_mse: Tensor


def prior_bits(diffusion: Diffusion, x0: Tensor) -> Tensor:
    """Return L_T = KL(q(x_T | x_0) || N(0, I)) in bits/dim, [N], in the dtype of x0 [N, C, H, W]. DDPM Eq. 5.

    Raises ValueError unless x0 is floating point.
    """
    check_floating(x0)
    q = diffusion.q_mean_variance(x0.cpu().double(), len(diffusion) - 1)  # MPS has no float64
    zero = torch.zeros((), dtype=torch.float64)
    return (mean_flat(normal_kl(q.mean, q.log_variance.expand_as(q.mean), zero, zero)) / math.log(2)).to(x0)


def bound_terms(
    model: Denoiser, diffusion: Diffusion, x0: Tensor, noise: Noise, *, clip: bool = True, **condition: Any
) -> Iterator[BoundTerm]:
    """Yield L_{T-1} ... L_0 of images x0 [N, C, H, W] (uint8 / 127.5 - 1), each from one noise sample. DDPM Eq. 5.

    Each term takes one network call. The bound is the sum of their bits plus prior_bits. On a respaced chain it is the
    bound for sampling with fewer steps.
    """
    for i in reversed(range(len(diffusion))):
        eps = noise()
        xt = diffusion.q_sample(x0, i, eps)
        p = diffusion.p(call_model(model, diffusion, xt, i, **condition), xt, i, clip)
        bits = kl_term(diffusion.q_posterior(x0, xt, i), p) if i else decoder_term(p, x0)
        yield BoundTerm(i, bits, mean_flat((p.x0 - x0) ** 2), mean_flat((p.eps - eps) ** 2))


def rate_distortion(prior: Tensor, bits: Tensor, x0_mse: Tensor) -> list[tuple[int, float, float]]:
    """Return (t, rate in bits/dim, distortion) for t = T-1 ... 0, averaged over N images.

    DDPM section 4.3, Figure 5 and Table 4. prior is L_T [N]; bits and x0_mse, each [N, T], are the bound terms at
    index t. The rate at t is L_T plus every L_s with s > t, which is the cost of transmitting x_t. The distortion is
    the root mean square error of the x_0 predicted from x_t, on the scale 0 to 255.
    """
    terms = bits.mean(0)
    rates = prior.mean() + terms.flip(0).cumsum(0).flip(0) - terms
    distortions = 127.5 * x0_mse.mean(0).sqrt()
    return [(t, float(rates[t]), float(distortions[t])) for t in reversed(range(len(terms)))]
