"""Training losses: L_simple, the terms of the variational bound, and L_hybrid, per example."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion_demo.diffusion.process import Diffusion, Gaussian, Reverse


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


def kl_term(truth: Gaussian, p: Reverse) -> Tensor:
    """KL(q(x_{t-1} | x_t, x_0) || p_theta(x_{t-1} | x_t)) in bits/dim, [N]: L_t for t > 0. DDPM Eq. 5."""
    return mean_flat(normal_kl(truth.mean, truth.log_variance, p.mean, p.log_variance)) / math.log(2)


def decoder_term(p: Reverse, x0: Tensor) -> Tensor:
    """-log p_theta(x_0 | x_1) in bits/dim, [N]: L_0. DDPM Eq. 13."""
    return -mean_flat(decoder_log_likelihood(x0, p.mean, 0.5 * p.log_variance)) / math.log(2)


def vlb_term(diffusion: Diffusion, output: Tensor, x0: Tensor, xt: Tensor, t: Tensor, clip: bool = True) -> Tensor:
    """L_t of the variational bound in bits/dim, [N], each row at its own t: the KL or, at t = 0, the decoder term. DDPM Eq. 5."""
    p = diffusion.p(output, xt, t, clip)
    return torch.where(t.to(x0.device) == 0, decoder_term(p, x0), kl_term(diffusion.q_posterior(x0, xt, t), p))


class Losses(NamedTuple):
    """Per example, each [N]: the loss to minimize, its mean squared error, and its bound term (bits/dim; None where the loss has none)."""

    loss: Tensor
    mse: Tensor
    vlb: Tensor | None


def min_snr_weight(diffusion: Diffusion, t: Tensor, gamma: float) -> Tensor:
    """The weight of the squared error at t, float64 [N]: min(SNR, gamma) in terms of x_0. Hang et al. 2023 (Min-SNR), section 3.4.

    With SNR = abar / (1 - abar), an error of x_0 is the error of epsilon over SNR, and the error of v over SNR + 1. Raises ValueError for the
    prediction of the previous mean, for which the paper gives no weight.
    """
    abar = diffusion.abar[t.to(diffusion.abar.device)]
    snr = abar / (1 - abar)
    per_x0 = {"sample": torch.ones_like(snr), "epsilon": snr, "v_prediction": snr + 1}
    if diffusion.prediction_type not in per_x0:
        raise ValueError(f"Min-SNR weighting is not defined for prediction type {diffusion.prediction_type!r}")
    return snr.clamp(max=gamma) / per_x0[diffusion.prediction_type]


LOSSES = ("simple", "hybrid", "hybrid_unscaled", "kl", "rescaled_kl")


def training_losses(
    diffusion: Diffusion,
    output: Tensor,
    x0: Tensor,
    xt: Tensor,
    t: Tensor,
    eps: Tensor,
    kind: str = "hybrid",
    snr_gamma: float | None = None,
) -> Losses:
    """The loss of the network's output at (x_t, t), in float32.

    simple           L_simple, the squared error to the target. DDPM Eq. 14
    hybrid           L_simple + T/1000 L_t, where the variance is learned; else L_simple. Improved DDPM Eq. 16
    hybrid_unscaled  L_simple + L_t, as some of the papers' released models were trained
    kl               L_t in bits/dim, which trains prediction and variance. DDPM Eq. 5
    rescaled_kl      T L_t: over uniform t its mean is L_vlb, the whole bound

    In a hybrid the bound term trains the variance alone: the prediction is detached in it. `snr_gamma` weights the squared error of simple and hybrid
    losses by `min_snr_weight`; the mse that is returned stays unweighted.
    Raises ValueError for another kind, or for "simple" with a learned variance, which it would not train.
    """
    if kind not in LOSSES:
        raise ValueError(f"no loss is called {kind!r}; there are {', '.join(LOSSES)}")
    if kind == "simple" and diffusion.learns_variance:
        raise ValueError("L_simple does not train a learned variance: take the hybrid loss, or a fixed variance")
    output = output.float()
    prediction, v = diffusion.split_output(output, xt)
    mse = mean_flat((prediction - diffusion.target(x0, t, eps)) ** 2)
    if kind in ("kl", "rescaled_kl"):
        vlb = vlb_term(diffusion, output, x0, xt, t, clip=False)
        return Losses(vlb * (len(diffusion) if kind == "rescaled_kl" else 1), mse, vlb)
    simple = mse if snr_gamma is None else mse * min_snr_weight(diffusion, t, snr_gamma).to(mse)
    if v is None:
        return Losses(simple, mse, None)
    vlb = vlb_term(diffusion, torch.cat([prediction.detach(), v], dim=1), x0, xt, t, clip=False)
    return Losses(simple + vlb * (1 if kind == "hybrid_unscaled" else len(diffusion) / 1000), mse, vlb)
