"""Samplers: generators that yield each step from x_T to x_0, and functions that take one step.

A sampler takes a denoiser, model(xt, t, **condition) with t of shape [N]; the chain, whole or respaced; x_T
[N, C, H, W]; and `noise()`, which returns a new standard normal tensor like x_T and is called once for every step
except the last. The caller may stop the iteration early. `NAME_step` takes x_t and its index t in the chain instead of
x_T. All further options are keywords:

    clip         clamp the predicted x_0 to [-1, 1]
    denoised_fn  Callable(x0) -> x0, [N, C, H, W], that changes the predicted x_0 before it is clipped
    gradient     gradient of a classifier that guides
    condition    anything else is passed to the denoiser
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffusion_demo.diffusion.denoiser import Denoiser, call_model
from diffusion_demo.diffusion.guidance import Gradient, call_gradient, shift_eps, shift_mean
from diffusion_demo.diffusion.process import DenoisedFn, Diffusion
from diffusion_demo.diffusion.schedules import log_signal_to_noise

Noise = Callable[[], Tensor]
"""Callable that returns a new standard normal tensor."""


@dataclass(frozen=True, eq=False)
class Step:
    """One completed sampling step.

    t          timestep of the network call
    t_reached  timestep of the noise level of xt, or -1 for a clean image
    xt         result of the step, [N, C, H, W]
    x0         x_0 that xt was made from, clipped and guided as xt, [N, C, H, W]; in the last step of a sampler it is xt
    index      number of the step, from 1 to total
    total      number of steps
    """

    t: int
    t_reached: int
    xt: Tensor
    x0: Tensor
    index: int
    total: int


def reverse_step(diffusion: Diffusion, t: int, xt: Tensor, x0: Tensor) -> Step:
    """Return the Step from chain index t that reached x_{t-1} (or, at t = 0, the clean image) `xt` [N, C, H, W]."""
    t_reached, total = int(diffusion.timesteps[t - 1]) if t else -1, len(diffusion)
    return Step(int(diffusion.timesteps[t]), t_reached, xt, x0, total - t, total)


def take_steps(
    take_step: Callable[..., Step], model: Denoiser, diffusion: Diffusion, xT: Tensor, noise: Noise, **options: Any
) -> Iterator[Step]:
    """Yield the steps for t = T-1 ... 0, each from the result of the one before."""
    xt = xT
    for t in reversed(range(len(diffusion))):
        step = take_step(model, diffusion, xt, t, noise, **options)
        xt = step.xt
        yield step


def ddpm_step(
    model: Denoiser,
    diffusion: Diffusion,
    xt: Tensor,
    t: int,
    noise: Noise,
    *,
    clip: bool = True,
    denoised_fn: DenoisedFn | None = None,
    gradient: Gradient | None = None,
    **condition: Any,
) -> Step:
    """Take one ancestral step: x_{t-1} = mu_theta + Sigma_theta^(1/2) z, without noise at t = 0. DDPM Algorithm 2.

    A classifier `gradient` shifts the mean. ADM Algorithm 1.
    """
    p = diffusion.p(call_model(model, diffusion, xt, t, **condition), xt, t, clip, denoised_fn)
    if gradient:
        p = shift_mean(p, call_gradient(gradient, diffusion, xt, t))
    if t == 0:
        return reverse_step(diffusion, t, p.mean, p.mean)
    return reverse_step(diffusion, t, p.mean + torch.exp(0.5 * p.log_variance) * noise(), p.x0)


def ddpm(model: Denoiser, diffusion: Diffusion, xT: Tensor, noise: Noise, **options: Any) -> Iterator[Step]:
    """Sample by ancestral sampling: ddpm_step for t = T-1 ... 0. DDPM Algorithm 2."""
    return take_steps(ddpm_step, model, diffusion, xT, noise, **options)


def ddim_step(
    model: Denoiser,
    diffusion: Diffusion,
    xt: Tensor,
    t: int,
    noise: Noise,
    *,
    eta: float = 0.0,
    clip: bool = True,
    denoised_fn: DenoisedFn | None = None,
    gradient: Gradient | None = None,
    **condition: Any,
) -> Step:
    """Take one DDIM step: x_{t-1} = sqrt(abar_{t-1}) x_0 + sqrt(1 - abar_{t-1} - sigma^2) eps + sigma z.

    DDIM Eq. 12 and 16. sigma is eta times the posterior standard deviation: eta = 0 is deterministic, eta = 1 is
    ancestral sampling with variance type "fixed_small". A learned variance is ignored. A classifier `gradient` shifts
    eps. ADM Algorithm 2.
    """
    sigma = eta * diffusion.posterior_variance.sqrt()
    direction = (1 - diffusion.abar_prev - sigma**2).clamp(min=0).sqrt()
    p = diffusion.p(call_model(model, diffusion, xt, t, **condition), xt, t, clip, denoised_fn)
    if gradient:
        p = shift_eps(diffusion, p, xt, t, call_gradient(gradient, diffusion, xt, t))
    mean = diffusion.gather(diffusion.abar_prev.sqrt(), t, xt) * p.x0 + diffusion.gather(direction, t, xt) * p.eps
    return reverse_step(diffusion, t, mean + diffusion.gather(sigma, t, xt) * noise() if t else mean, p.x0)


def ddim(model: Denoiser, diffusion: Diffusion, xT: Tensor, noise: Noise, **options: Any) -> Iterator[Step]:
    """Sample by DDIM: ddim_step, whose options include eta, for t = T-1 ... 0. DDIM Eq. 12."""
    return take_steps(ddim_step, model, diffusion, xT, noise, **options)


def ddim_encode(
    model: Denoiser,
    diffusion: Diffusion,
    x0: Tensor,
    *,
    clip: bool = False,
    denoised_fn: DenoisedFn | None = None,
    gradient: Gradient | None = None,
    **condition: Any,
) -> Iterator[Step]:
    """Encode x_0 to x_T, the inverse of ddim with eta = 0: x_{t+1} = sqrt(abar_{t+1}) x_0 + sqrt(1 - abar_{t+1}) eps.

    DDIM Eq. 14. Index i moves x_t to x_{t+1}, and the last index moves to pure eps (abar = 0 after the chain), as in
    the papers' code. Stop one step early for fewer artifacts (ADM appendix F).

    Raises ValueError if a classifier `gradient` is given, because decoding would not invert it.
    """
    if gradient is not None:
        raise ValueError("an image cannot be encoded with classifier guidance; use the gradient only for decoding")
    abar_next = torch.cat([diffusion.abar[1:], diffusion.abar.new_zeros(1)])
    xt, total = x0, len(diffusion)
    for i in range(total):
        t = int(diffusion.timesteps[i])
        p = diffusion.p(call_model(model, diffusion, xt, i, **condition), xt, i, clip, denoised_fn)
        xt = diffusion.gather(abar_next.sqrt(), i, xt) * p.x0 + diffusion.gather((1 - abar_next).sqrt(), i, xt) * p.eps
        t_reached = int(diffusion.timesteps[i + 1]) if i + 1 < total else t
        yield Step(t, t_reached, xt, p.x0, i + 1, total)


def dpm_solver_step(
    model: Denoiser,
    diffusion: Diffusion,
    xt: Tensor,
    t: int,
    noise: Noise,
    previous_x0: Tensor | None = None,
    *,
    eta: float = 0.0,
    clip: bool = True,
    denoised_fn: DenoisedFn | None = None,
    gradient: Gradient | None = None,
    **condition: Any,
) -> Step:
    """Take one step of DPM-Solver++(2M). Lu et al. 2022, Algorithm 2.

        x_{t-1} = sigma_{t-1}/sigma_t e^(-eta h) x_t + alpha_{t-1} (1 - e^(-(1+eta) h)) D
                  + sigma_{t-1} sqrt(1 - e^(-2 eta h)) z

    h is the step in lambda = log(alpha/sigma). D extrapolates x_0 from `previous_x0`, the x0 of the step before;
    without it, the step is of first order. eta = 0 never calls `noise`; eta = 1 is the paper's SDE-DPM-Solver++(2M). A
    `gradient` shifts eps as in ddim_step, before x_0 is clipped. ADM Algorithm 2.
    """
    p = diffusion.p(call_model(model, diffusion, xt, t, **condition), xt, t, clip, denoised_fn)
    if gradient:
        p = shift_eps(diffusion, p, xt, t, call_gradient(gradient, diffusion, xt, t))
    x0 = diffusion.clip_x0(p.x0) if clip else p.x0
    if t == 0:
        return reverse_step(diffusion, t, x0, x0)
    alpha, sigma = float(diffusion.abar[t - 1].sqrt()), (1 - diffusion.abar[t - 1 : t + 1]).sqrt().tolist()
    h, extrapolated = _half_log_snr_step(diffusion, t), x0
    if previous_x0 is not None and 0 < (previous_h := _half_log_snr_step(diffusion, t + 1)) < math.inf:
        extrapolated = x0 + h / (2 * previous_h) * (x0 - previous_x0)
    decay = math.exp(-eta * h) if eta else 1.0  # h is infinite where abar_T is 0
    mean = sigma[0] / sigma[1] * decay * xt - alpha * math.expm1(-(1 + eta) * h) * extrapolated
    if eta:
        mean = mean + sigma[0] * math.sqrt(-math.expm1(-2 * eta * h)) * noise()
    return reverse_step(diffusion, t, mean, x0)


def _half_log_snr_step(diffusion: Diffusion, t: int) -> float:
    """Return lambda_{t-1} - lambda_t; 0 between two levels of pure noise."""
    half_log_snr = 0.5 * log_signal_to_noise(diffusion.abar)
    return float(half_log_snr[t - 1] - half_log_snr[t]) if diffusion.abar[t - 1] else 0.0


def dpm_solver(model: Denoiser, diffusion: Diffusion, xT: Tensor, noise: Noise, **options: Any) -> Iterator[Step]:
    """Sample by DPM-Solver++(2M), a second-order multistep solver of the probability flow ODE. Lu et al. 2022.

    It is dpm_solver_step, whose options include eta, for t = T-1 ... 0, and works best with 5 to 20 steps that are
    uniform in log SNR. The x_0 of the first step, predicted from pure noise, is too unreliable to extrapolate from.
    """
    xt, x0, total = xT, None, len(diffusion)
    for t in reversed(range(total)):
        step = dpm_solver_step(model, diffusion, xt, t, noise, x0 if t < total - 2 else None, **options)
        xt, x0 = step.xt, step.x0
        yield step


SAMPLERS: dict[str, Callable[..., Iterator[Step]]] = {"ddpm": ddpm, "ddim": ddim, "dpm_solver": dpm_solver}
