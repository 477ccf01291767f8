"""Training losses: L_simple, the terms of the variational bound, and L_hybrid, per example."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion_demo.diffusion.process import Diffusion


def normal_kl(mean1: Tensor, log_variance1: Tensor, mean2: Tensor, log_variance2: Tensor) -> Tensor:
    """KL(N(mean1, exp log_variance1) || N(mean2, exp log_variance2)), elementwise, in nats."""
    difference = log_variance2 - log_variance1
    return 0.5 * (difference - 1 + torch.exp(-difference) + (mean1 - mean2) ** 2 * torch.exp(-log_variance2))


def approximate_normal_cdf(x: Tensor) -> Tensor:
    """0.5 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): the normal distribution function as the papers' code has it (off by < 1e-3)."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def decoder_log_likelihood(x0: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log p(x_0 | x_1) of 8-bit pixels, elementwise, in nats. DDPM Eq. 13.

    x0 is uint8 / 127.5 - 1; log_scale is half a log variance. Each of the 256 bins has width 2/255; the first and the last are open.
    """
    centred, inverse = x0 - mean, torch.exp(-log_scale)
    upper = approximate_normal_cdf((centred + 1 / 255) * inverse)
    lower = approximate_normal_cdf((centred - 1 / 255) * inverse)
    inside = torch.where(x0 > 0.999, 1 - lower, upper - lower)
    return torch.where(x0 < -0.999, upper, inside).clamp(min=1e-12).log()


def mean_flat(x: Tensor) -> Tensor:
    """The mean over all but the first axis: [N, ...] -> [N]."""
    return x.flatten(1).mean(dim=1)


def vlb_term(diffusion: Diffusion, output: Tensor, x0: Tensor, xt: Tensor, t: Tensor, clip: bool = True) -> Tensor:
    """L_t of the variational bound in bits/dim, [N]: the KL of DDPM Eq. 5, and at t = 0 the decoder term L_0."""
    truth, model = diffusion.q_posterior(x0, xt, t), diffusion.p(output, xt, t, clip)
    kl = mean_flat(normal_kl(truth.mean, truth.log_variance, model.mean, model.log_variance))
    nll = -mean_flat(decoder_log_likelihood(x0, model.mean, 0.5 * model.log_variance))
    return torch.where(t.to(x0.device) == 0, nll, kl) / math.log(2)


class Losses(NamedTuple):
    """Per example, each [N]: the loss to minimise, its mean squared error, and its bound term (bits/dim; None for a fixed variance)."""

    loss: Tensor
    mse: Tensor
    vlb: Tensor | None


def training_losses(diffusion: Diffusion, output: Tensor, x0: Tensor, xt: Tensor, t: Tensor, eps: Tensor) -> Losses:
    """L_simple (DDPM Eq. 14) or, where the variance is learned, L_hybrid = L_simple + T/1000 L_t (Improved DDPM Eq. 16).

    The bound term trains the variance alone: the prediction is detached in it. output is the network's at (xt, t).
    """
    output = output.float()
    prediction, v = diffusion.split_output(output, x0.shape[1])
    mse = mean_flat((prediction - diffusion.target(x0, t, eps)) ** 2)
    if v is None:
        return Losses(mse, mse, None)
    vlb = vlb_term(diffusion, torch.cat([prediction.detach(), v], dim=1), x0, xt, t, clip=False)
    return Losses(mse + len(diffusion) / 1000 * vlb, mse, vlb)
