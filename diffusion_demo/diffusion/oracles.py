"""Optimal denoisers in closed form for known data distributions.

Each function returns a denoiser that predicts eps = -sqrt(1 - abar_t) grad log q(x_t), where `abar`, float64 [T],
belongs to the chain before respacing. It computes in float64 on the CPU and returns the dtype and device of x_t.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from diffusion_demo.diffusion.denoiser import Denoiser


def _denoiser(expected_x0: Callable[[Tensor, Tensor], Tensor], abar: Tensor) -> Denoiser:
    """Return the denoiser that predicts eps from expected_x0(x [N, D], abar [N, 1]) = E[x_0 | x_t], [N, D]."""

    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        x, a = xt.detach().cpu().double().flatten(1), abar[t.cpu()].unsqueeze(1)
        return ((x - a.sqrt() * expected_x0(x, a)) / (1 - a).sqrt()).reshape(xt.shape).to(xt)

    return denoise


def gaussian(mean: Tensor, root: Tensor, abar: Tensor, floor: float = 0.0) -> Denoiser:
    """Return the optimal denoiser for x_0 ~ N(mean, root^T root + floor I).

    mean is [C, H, W] and root is [K, D] with D = C H W. With covariance S,
    E[x_0 | x_t] = mean + sqrt(abar) S (abar S + (1 - abar) I)^-1 (x_t - sqrt(abar) mean). Bishop 2006, Eq. 2.116.
    It is computed in the eigenbasis of S, where all but at most K eigenvalues equal `floor`.
    """
    flat_mean = mean.cpu().double().flatten()
    _, scales, directions = torch.linalg.svd(root.cpu().double(), full_matrices=False)

    def expected_x0(x: Tensor, a: Tensor) -> Tensor:
        centered = x - a.sqrt() * flat_mean
        floor_gain, gains = (a.sqrt() * v / (a * v + 1 - a) for v in (floor, floor + scales**2))
        return flat_mean + floor_gain * centered + ((gains - floor_gain) * (centered @ directions.T)) @ directions

    return _denoiser(expected_x0, abar)


def mixture(means: Tensor, variance: float, abar: Tensor, weights: Tensor | None = None) -> Denoiser:
    """Return the optimal denoiser for a mixture of Gaussians N(mean, variance I).

    means is [M, C, H, W]; weights, [M], sum to 1 (default: uniform). E[x_0 | x_t] is the mean of the components'
    expectations, weighted by p(m | x_t). Bayes' rule with DDPM Eq. 4.
    """
    flat = means.cpu().double().flatten(1)
    weights = torch.full((len(flat),), 1 / len(flat)) if weights is None else weights

    def expected_x0(x: Tensor, a: Tensor) -> Tensor:
        marginal_variance = a * variance + 1 - a
        squared_distance = (x**2).sum(1, keepdim=True) - 2 * a.sqrt() * x @ flat.T + a * (flat**2).sum(1)
        posterior = torch.softmax(weights.double().log() - squared_distance / (2 * marginal_variance), dim=1)
        center = posterior @ flat
        return center + a.sqrt() * variance / marginal_variance * (x - a.sqrt() * center)

    return _denoiser(expected_x0, abar)


def finite_set(members: Tensor, abar: Tensor) -> Denoiser:
    """Return the optimal denoiser for the uniform distribution over `members`, [M, C, H, W]."""
    return mixture(members, 0.0, abar)


def pixels(probabilities: Tensor, abar: Tensor) -> Denoiser:
    """Return the optimal denoiser for independent 8-bit pixels.

    probabilities, [256, C, H, W], are those of each gray level k, with x_0 = k / 127.5 - 1. E[x_0 | x_t] is computed by
    enumeration of the 256 levels. Bayes' rule with DDPM Eq. 4.
    """
    levels = torch.arange(256, dtype=torch.float64).unsqueeze(1) / 127.5 - 1
    log_prior = probabilities.cpu().double().flatten(1).log()

    def expected_x0(x: Tensor, a: Tensor) -> Tensor:
        posteriors = [
            torch.softmax(log_prior - (row - b.sqrt() * levels) ** 2 / (2 * (1 - b)), dim=0)
            for row, b in zip(x, a, strict=True)
        ]
        return torch.stack([(posterior * levels).sum(0) for posterior in posteriors])

    return _denoiser(expected_x0, abar)


def pixel_entropy(probabilities: Tensor) -> float:
    """Return the entropy of independent pixels in bits per dimension, the minimum of any model's bound. Shannon 1948.

    probabilities is [256, C, H, W].
    """
    return float(torch.special.entr(probabilities.double()).sum(0).mean()) / math.log(2)
