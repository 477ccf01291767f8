"""Samplers: generators of steps from x_T down to x_0.

Each takes a denoiser, any callable model(xt, t, **condition) with t an int64 tensor [N]; the chain to walk (respaced or
whole); the start x_T; and `noise()`, which returns a fresh standard normal tensor like x_T each time it is called, once for
every step but the last. Drawing, progress and canceling belong to the caller: leaving the loop early is a normal way out.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_demo.diffusion.guidance import Gradient, shift_eps, shift_mean
from diffusion_demo.diffusion.process import Denoiser, Diffusion, Reverse, call_model
from diffusion_demo.diffusion.schedules import log_signal_to_noise

Noise = Callable[[], Tensor]


@dataclass(frozen=True, eq=False)
class Step:
    """One step that was made: number `index` of `total`, from 1.

    It asked the network at t, predicted x0, and ended at xt, whose noise level is that of t_reached (-1: clean).
    """

    t: int
    t_reached: int
    xt: Tensor
    x0: Tensor
    index: int
    total: int


def _walk(model: Denoiser, diffusion: Diffusion, xt: Tensor, move, clip: bool, condition) -> Iterator[Step]:
    """Down the chain: at each index the network's p_theta, and from it the next x by `move(p, xt, i)`."""
    total = len(diffusion)
    for i in reversed(range(total)):
        p = diffusion.p(call_model(model, diffusion, xt, i, **condition), xt, i, clip)
        xt = move(p, xt, i)
        yield Step(
            int(diffusion.timesteps[i]), int(diffusion.timesteps[i - 1]) if i else -1, xt, p.x0, total - i, total
        )


def ddpm(
    model: Denoiser,
    diffusion: Diffusion,
    xT: Tensor,
    noise: Noise,
    *,
    clip: bool = True,
    gradient: Gradient | None = None,
    **condition,
) -> Iterator[Step]:
    """Ancestral sampling: x_{t-1} = mu_theta + Sigma_theta^(1/2) z, without noise in the last step. DDPM Algorithm 2.

    With a classifier's gradient the mean is shifted: ADM Algorithm 1.
    """

    def move(p: Reverse, xt: Tensor, i: int) -> Tensor:
        p = shift_mean(p, gradient(xt, diffusion.model_timesteps(i, xt))) if gradient else p
        return p.mean + torch.exp(0.5 * p.log_variance) * noise() if i else p.mean

    return _walk(model, diffusion, xT, move, clip, condition)


def ddim(
    model: Denoiser,
    diffusion: Diffusion,
    xT: Tensor,
    noise: Noise,
    *,
    eta: float = 0.0,
    clip: bool = True,
    gradient: Gradient | None = None,
    **condition,
) -> Iterator[Step]:
    """x_{t-1} = sqrt(abar_{t-1}) x_0 + sqrt(1 - abar_{t-1} - sigma^2) eps + sigma z, sigma from eta. DDIM Eq. 12 and 16.

    eta = 0 is deterministic; eta = 1 is ancestral sampling with the small fixed variance. A learned variance is not used.
    With a classifier's gradient eps is shifted: ADM Algorithm 2.
    """
    sigma = eta * diffusion.posterior_variance.sqrt()
    direction = (1 - diffusion.abar_prev - sigma**2).clamp(min=0).sqrt()

    def move(p: Reverse, xt: Tensor, i: int) -> Tensor:
        p = shift_eps(diffusion, p, xt, i, gradient(xt, diffusion.model_timesteps(i, xt))) if gradient else p
        mean = diffusion.gather(diffusion.abar_prev.sqrt(), i, xt) * p.x0 + diffusion.gather(direction, i, xt) * p.eps
        return mean + diffusion.gather(sigma, i, xt) * noise() if i else mean

    return _walk(model, diffusion, xT, move, clip, condition)


def ddim_encode(
    model: Denoiser,
    diffusion: Diffusion,
    x0: Tensor,
    *,
    clip: bool = False,
    gradient: Gradient | None = None,
    **condition,
) -> Iterator[Step]:
    """x_0 to x_T, the reverse of ddim with eta = 0: x_{t+1} = sqrt(abar_{t+1}) x_0 + sqrt(1 - abar_{t+1}) eps. DDIM Eq. 14.

    Index i moves x_{t} to x_{t+1}, and the last to pure eps (abar = 0 beyond the chain), as in the papers' code; stop one step
    early for fewer artefacts (ADM appendix F). Raises ValueError for a classifier's gradient, which would not be undone by decoding.
    """
    if gradient is not None:
        raise ValueError(
            "an image cannot be encoded with a classifier's guidance: leave the gradient out, and guide the decoding"
        )
    abar_next = torch.cat([diffusion.abar[1:], diffusion.abar.new_zeros(1)])
    xt, total = x0, len(diffusion)
    for i in range(total):
        t = int(diffusion.timesteps[i])
        p = diffusion.p(call_model(model, diffusion, xt, i, **condition), xt, i, clip)
        xt = diffusion.gather(abar_next.sqrt(), i, xt) * p.x0 + diffusion.gather((1 - abar_next).sqrt(), i, xt) * p.eps
        reached = int(diffusion.timesteps[i + 1]) if i + 1 < total else t
        yield Step(t, reached, xt, p.x0, i + 1, total)


def dpm_solver(
    model: Denoiser,
    diffusion: Diffusion,
    xT: Tensor,
    noise: Noise,
    *,
    eta: float = 0.0,
    clip: bool = True,
    gradient: Gradient | None = None,
    **condition,
) -> Iterator[Step]:
    """DPM-Solver++(2M), a solver of second order for ddim's flow, best at 5 to 20 steps even in log SNR. Lu et al. 2022, Algorithm 2.

    x_{t-1} = sigma_{t-1}/sigma_t e^(-eta h) x_t + alpha_{t-1} (1 - e^(-(1+eta) h)) D + sigma_{t-1} sqrt(1 - e^(-2 eta h)) z, with h the
    step in lambda = log(alpha/sigma) and D the x_0 here carried on along the last one. The x_0 of pure noise is no guide for that: D is
    plain x_0 in the first two steps. eta = 0 is deterministic, and `noise` is not called; eta = 1 is the same paper's
    SDE-DPM-Solver++(2M), which walks back the stochastic way. With a classifier's gradient eps is shifted as in ddim, but x_0 clipped
    after it: ADM Algorithm 2.
    """
    alpha, sigma = diffusion.abar.sqrt().tolist(), (1 - diffusion.abar).sqrt().tolist()
    half_log_snr, total, x0s = (0.5 * log_signal_to_noise(diffusion.abar)).tolist(), len(diffusion), deque(maxlen=2)

    def move(p: Reverse, xt: Tensor, i: int) -> Tensor:
        p = shift_eps(diffusion, p, xt, i, gradient(xt, diffusion.model_timesteps(i, xt))) if gradient else p
        x0 = p.x0.clamp(-1, 1) if clip else p.x0
        x0s.append(x0)
        if i == 0:
            return x0
        step, carried = half_log_snr[i - 1] - half_log_snr[i], x0
        if i < total - 2:
            carried = x0 + step / (2 * (half_log_snr[i] - half_log_snr[i + 1])) * (x0 - x0s[-2])
        mean = (
            sigma[i - 1] / sigma[i] * math.exp(-eta * step) * xt
            - alpha[i - 1] * math.expm1(-(1 + eta) * step) * carried
        )
        return mean + sigma[i - 1] * math.sqrt(-math.expm1(-2 * eta * step)) * noise() if eta else mean

    return _walk(model, diffusion, xT, move, clip, condition)


SAMPLERS = {"ddpm": ddpm, "ddim": ddim, "dpm_solver": dpm_solver}
