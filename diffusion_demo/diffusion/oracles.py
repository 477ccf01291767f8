"""Perfect denoisers, known in closed form: what a network trained without end would answer on data of a known kind.

Each returns a denoiser that predicts eps = -sqrt(1 - abar_t) grad log q(x_t), for a chain whose original abar_t are `abar`, float64 [T].
"""

import torch
from torch import Tensor

from diffusion_demo.diffusion.process import Denoiser


def _eps(xt: Tensor, abar: Tensor, x0: Tensor) -> Tensor:
    return ((xt - abar.sqrt() * x0) / (1 - abar).sqrt()).reshape(xt.shape)


def gaussian(mean: Tensor, covariance: Tensor, abar: Tensor) -> Denoiser:
    """The denoiser of data x_0 ~ N(mean, covariance); mean is float64 [C, H, W], covariance [D, D] with D = C H W.

    E[x_0 | x_t] = mean + sqrt(abar) covariance (abar covariance + (1 - abar) I)^-1 (x_t - sqrt(abar) mean): Bishop 2006, Eq. 2.116.
    """
    flat_mean, identity = mean.double().flatten(), torch.eye(len(covariance), dtype=torch.float64)

    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        x, a = xt.double().flatten(1), abar[t.cpu()].unsqueeze(1)
        marginal = a.unsqueeze(2) * covariance + (1 - a).unsqueeze(2) * identity
        centred = torch.linalg.solve(marginal, (x - a.sqrt() * flat_mean).unsqueeze(2)).squeeze(2)
        x0 = flat_mean + a.sqrt() * centred @ covariance.T
        return _eps(x, a, x0).reshape(xt.shape).to(xt.dtype)

    return denoise


def finite_set(members: Tensor, abar: Tensor) -> Denoiser:
    """The denoiser of data drawn evenly from `members` [M, C, H, W]: E[x_0 | x_t] is their softmax-weighted mean.

    The weight of member m is proportional to exp(-|x_t - sqrt(abar) m|^2 / (2 (1 - abar))): Bayes' rule with DDPM Eq. 4.
    """
    flat = members.double().flatten(1)

    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        x, a = xt.double().flatten(1), abar[t.cpu()].unsqueeze(1)
        squared = (x**2).sum(1, keepdim=True) - 2 * a.sqrt() * x @ flat.T + a * (flat**2).sum(1)
        x0 = torch.softmax(-squared / (2 * (1 - a)), dim=1) @ flat
        return _eps(x, a, x0).reshape(xt.shape).to(xt.dtype)

    return denoise
