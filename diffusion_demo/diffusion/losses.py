"""Training losses per example: L_simple, the terms of the variational bound, and L_hybrid."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion_demo.diffusion.process import Diffusion, Gaussian, Reverse, check_floating
from diffusion_demo.diffusion.schedules import signal_to_noise


def normal_kl(mean1: Tensor, log_variance1: Tensor, mean2: Tensor, log_variance2: Tensor) -> Tensor:
    """Return KL(N(mean1, exp log_variance1) || N(mean2, exp log_variance2)), elementwise, in nats."""
    difference = log_variance2 - log_variance1
    return 0.5 * (difference - 1 + torch.exp(-difference) + (mean1 - mean2) ** 2 * torch.exp(-log_variance2))


def approximate_normal_cdf(x: Tensor) -> Tensor:
    """Return the standard normal CDF, approximated by 0.5 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).

    The papers' code uses the same approximation. The absolute error is below 1e-3.
    """
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def decoder_log_likelihood(x0: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Return log p(x_0 | x_1) of 8-bit pixels, elementwise, in nats. DDPM Eq. 13.

    x0 is uint8 / 127.5 - 1; log_scale is half the log variance. Each of the 256 bins has width 2/255; the first and the
    last extend to -inf and inf. Raises ValueError unless x0 is floating point.
    """
    check_floating(x0)
    centered, inverse_scale = x0 - mean, torch.exp(-log_scale)
    upper = approximate_normal_cdf((centered + 1 / 255) * inverse_scale)
    lower = approximate_normal_cdf((centered - 1 / 255) * inverse_scale)
    inside = torch.where(x0 > 0.999, 1 - lower, upper - lower)
    return torch.where(x0 < -0.999, upper, inside).clamp(min=1e-12).log()


def mean_flat(x: Tensor) -> Tensor:
    """Return the mean over all axes but the first: [N, ...] -> [N]."""
    return x.flatten(1).mean(dim=1)


def kl_term(truth: Gaussian, p: Reverse) -> Tensor:
    """Return L_t for t > 0, KL(q(x_{t-1} | x_t, x_0) || p_theta(x_{t-1} | x_t)) in bits/dim, [N]. DDPM Eq. 5."""
    return mean_flat(normal_kl(truth.mean, truth.log_variance, p.mean, p.log_variance)) / math.log(2)


def decoder_term(p: Reverse, x0: Tensor) -> Tensor:
    """Return L_0 = -log p_theta(x_0 | x_1) in bits/dim, [N]. DDPM Eq. 13."""
    return -mean_flat(decoder_log_likelihood(x0, p.mean, 0.5 * p.log_variance)) / math.log(2)


def vlb_term(diffusion: Diffusion, output: Tensor, x0: Tensor, xt: Tensor, t: Tensor, clip: bool = True) -> Tensor:
    """Return L_t of the variational bound in bits/dim, [N], for each row at its own t [N]. DDPM Eq. 5.

    It is the KL for t > 0 and the decoder term for t = 0.
    """
    p = diffusion.p(output, xt, t, clip)
    is_first = (t == 0).to(x0.device, non_blocking=True)
    return torch.where(is_first, decoder_term(p, x0), kl_term(diffusion.q_posterior(x0, xt, t), p))


class Losses(NamedTuple):
    """Losses per example, each [N].

    loss  the loss to minimize
    mse   the unweighted mean squared error to the target
    vlb   the term of the variational bound in bits/dim, or None if the loss has none
    """

    loss: Tensor
    mse: Tensor
    vlb: Tensor | None


def min_snr_weight(diffusion: Diffusion, t: Tensor, gamma: float) -> Tensor:
    """Return the weight of the squared error at t, float64 [N]: min(SNR, gamma) for a prediction of x_0.

    Hang et al. 2023 (Min-SNR), section 3.4. With SNR = abar / (1 - abar), the squared error of x_0 is that of epsilon
    divided by SNR, and that of v divided by SNR + 1.

    Raises ValueError for prediction type "previous", for which the paper gives no weight.
    """
    snr = signal_to_noise(diffusion.abar[t.to(diffusion.abar.device)])
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
    """Return the loss of the network output at (x_t, t), computed in float32.

    simple           L_simple, the mean squared error to the target. DDPM Eq. 14
    hybrid           L_simple + T/1000 L_t with a learned variance, otherwise L_simple. Improved DDPM Eq. 16
    hybrid_unscaled  L_simple + L_t, used for some of the papers' released models
    kl               L_t in bits/dim, which trains both prediction and variance. DDPM Eq. 5
    rescaled_kl      T L_t, whose mean over uniform t is the variational bound L_vlb

    In hybrid losses the bound term trains only the variance, because the prediction is detached in it. `snr_gamma`
    weights the squared error of simple and hybrid losses by `min_snr_weight`; the returned mse stays unweighted.

    Raises ValueError for an unknown kind, and for "simple" with a learned variance, which it would not train.
    """
    if kind not in LOSSES:
        raise ValueError(f"unknown loss {kind!r}; choose from {', '.join(LOSSES)}")
    if kind == "simple" and diffusion.learns_variance:
        raise ValueError("L_simple does not train a learned variance; use the hybrid loss or a fixed variance")
    output = output.float()
    prediction, v = diffusion.split_output(output, xt)
    mse = mean_flat((prediction - diffusion.target(x0, t, eps)) ** 2)
    if kind in ("kl", "rescaled_kl"):
        vlb = vlb_term(diffusion, output, x0, xt, t, clip=False)
        return Losses(vlb * (len(diffusion) if kind == "rescaled_kl" else 1), mse, vlb)
    simple = mse if snr_gamma is None else mse * min_snr_weight(diffusion, t, snr_gamma).to(mse, non_blocking=True)
    if v is None:
        return Losses(simple, mse, None)
    vlb = vlb_term(diffusion, torch.cat([prediction.detach(), v], dim=1), x0, xt, t, clip=False)
    return Losses(simple + vlb * (1 if kind == "hybrid_unscaled" else len(diffusion) / 1000), mse, vlb)
