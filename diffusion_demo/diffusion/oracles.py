"""Perfect denoisers, known in closed form: what a network trained without end would answer on data of a known kind.

Each returns a denoiser that predicts eps = -sqrt(1 - abar_t) grad log q(x_t), for a chain whose original abar_t are `abar`, float64 [T].
It computes in float64 on the CPU, and answers like x_t.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from diffusion_demo.diffusion.process import Denoiser


def _denoiser(expected_x0: Callable[[Tensor, Tensor], Tensor], abar: Tensor) -> Denoiser:
    """The denoiser that answers eps from expected_x0(x [N, D], abar [N, 1]) = E[x_0 | x_t], [N, D]."""

    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        x, a = xt.detach().cpu().double().flatten(1), abar[t.cpu()].unsqueeze(1)
        return ((x - a.sqrt() * expected_x0(x, a)) / (1 - a).sqrt()).reshape(xt.shape).to(xt)

    return denoise


def gaussian(mean: Tensor, root: Tensor, abar: Tensor, floor: float = 0.0) -> Denoiser:
    """The denoiser of data x_0 ~ N(mean, root^T root + floor I); mean is [C, H, W], root [K, D] with D = C H W.

    E[x_0 | x_t] = mean + sqrt(abar) S (abar S + (1 - abar) I)^-1 (x_t - sqrt(abar) mean), S the covariance: Bishop 2006, Eq. 2.116.
    It is had in S's own directions, of which K at most differ from the rest.
    """
    flat_mean = mean.cpu().double().flatten()
    _, scales, directions = torch.linalg.svd(root.cpu().double(), full_matrices=False)

    def expected_x0(x: Tensor, a: Tensor) -> Tensor:
        centred = x - a.sqrt() * flat_mean
        everywhere, along = (a.sqrt() * v / (a * v + 1 - a) for v in (floor, floor + scales**2))
        return flat_mean + everywhere * centred + ((along - everywhere) * (centred @ directions.T)) @ directions

    return _denoiser(expected_x0, abar)


def mixture(means: Tensor, variance: float, abar: Tensor, weights: Tensor | None = None) -> Denoiser:
    """The denoiser of a mixture of N(mean, variance I); means are [M, C, H, W], weights [M] add up to 1 (all the same if not given).

    E[x_0 | x_t] is the mean of the components' own expectations, weighted by p(m | x_t): Bayes' rule with DDPM Eq. 4.
    """
    flat = means.cpu().double().flatten(1)
    weights = torch.full((len(flat),), 1 / len(flat)) if weights is None else weights

    def expected_x0(x: Tensor, a: Tensor) -> Tensor:
        spread = a * variance + 1 - a
        squared = (x**2).sum(1, keepdim=True) - 2 * a.sqrt() * x @ flat.T + a * (flat**2).sum(1)
        share = torch.softmax(weights.double().log() - squared / (2 * spread), dim=1)
        centre = share @ flat
        return centre + a.sqrt() * variance / spread * (x - a.sqrt() * centre)

    return _denoiser(expected_x0, abar)


def finite_set(members: Tensor, abar: Tensor) -> Denoiser:
    """The denoiser of data drawn evenly from `members` [M, C, H, W]: a mixture without spread, which knows them by heart."""
    return mixture(members, 0.0, abar)


def pixels(probabilities: Tensor, abar: Tensor) -> Denoiser:
    """The denoiser of pixels that know nothing of each other: probabilities [256, C, H, W] of each gray level k, x_0 = k / 127.5 - 1.

    E[x_0 | x_t] by enumeration of the 256 levels: Bayes' rule with DDPM Eq. 4.
    """
    levels = torch.arange(256, dtype=torch.float64).unsqueeze(1) / 127.5 - 1
    log_prior = probabilities.cpu().double().flatten(1).log()

    def expected_x0(x: Tensor, a: Tensor) -> Tensor:
        rows = [
            torch.softmax(log_prior - (row - b.sqrt() * levels) ** 2 / (2 * (1 - b)), dim=0)
            for row, b in zip(x, a, strict=True)
        ]
        return torch.stack([(share * levels).sum(0) for share in rows])

    return _denoiser(expected_x0, abar)


def pixel_entropy(probabilities: Tensor) -> float:
    """The entropy of such pixels in bits per dimension: what no model's bound can be below. Shannon 1948."""
    return float(torch.special.entr(probabilities.double()).sum(0).mean()) / math.log(2)
