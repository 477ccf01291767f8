"""Samplers as generators of the steps from x_T to x_0.

A sampler takes a denoiser, model(xt, t, **condition) with t of shape [N]; the chain, whole or respaced; x_T
[N, C, H, W]; and `noise()`, which returns a new standard normal tensor like x_T and is called once for every step
except the last. The caller may stop the iteration early.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffusion_demo.diffusion.guidance import Gradient, shift_eps, shift_mean
from diffusion_demo.diffusion.process import Denoiser, Diffusion, Reverse, call_model
from diffusion_demo.diffusion.schedules import log_signal_to_noise

Noise = Callable[[], Tensor]
"""Callable that returns a new standard normal tensor."""


@dataclass(frozen=True, eq=False)
class Step:
    """One completed sampling step.

    t          timestep of the network call
    t_reached  timestep of the noise level of xt, or -1 for a clean image
    xt         result of the step, [N, C, H, W]
    x0         x_0 predicted in this step, [N, C, H, W]
    index      number of the step, from 1 to total
    total      number of steps
    """

    t: int
    t_reached: int
    xt: Tensor
    x0: Tensor
    index: int
    total: int


def _run_reverse(
    model: Denoiser,
    diffusion: Diffusion,
    xt: Tensor,
    update: Callable[[Reverse, Tensor, int], Tensor],
    clip: bool,
    condition: dict[str, Any],
) -> Iterator[Step]:
    """Run the chain from its last index to 0, where `update(p, xt, i)` returns the next x from p_theta at index i."""
    total = len(diffusion)
    for i in reversed(range(total)):
        p = diffusion.p(call_model(model, diffusion, xt, i, **condition), xt, i, clip)
        xt = update(p, xt, i)
        t_reached = int(diffusion.timesteps[i - 1]) if i else -1
        yield Step(int(diffusion.timesteps[i]), t_reached, xt, p.x0, total - i, total)


def ddpm(
    model: Denoiser,
    diffusion: Diffusion,
    xT: Tensor,
    noise: Noise,
    *,
    clip: bool = True,
    gradient: Gradient | None = None,
    **condition: Any,
) -> Iterator[Step]:
    """Sample by ancestral sampling: x_{t-1} = mu_theta + Sigma_theta^(1/2) z, without noise in the last step.

    DDPM Algorithm 2. A classifier `gradient` shifts the mean. ADM Algorithm 1.
    """

    def update(p: Reverse, xt: Tensor, i: int) -> Tensor:
        p = shift_mean(p, gradient(xt, diffusion.model_timesteps(i, xt))) if gradient else p
        return p.mean + torch.exp(0.5 * p.log_variance) * noise() if i else p.mean

    return _run_reverse(model, diffusion, xT, update, clip, condition)


def ddim(
    model: Denoiser,
    diffusion: Diffusion,
    xT: Tensor,
    noise: Noise,
    *,
    eta: float = 0.0,
    clip: bool = True,
    gradient: Gradient | None = None,
    **condition: Any,
) -> Iterator[Step]:
    """Sample by DDIM: x_{t-1} = sqrt(abar_{t-1}) x_0 + sqrt(1 - abar_{t-1} - sigma^2) eps + sigma z.

    DDIM Eq. 12 and 16. sigma is eta times the posterior standard deviation: eta = 0 is deterministic, eta = 1 is
    ancestral sampling with variance type "fixed_small". A learned variance is ignored. A classifier `gradient` shifts
    eps. ADM Algorithm 2.
    """
    sigma = eta * diffusion.posterior_variance.sqrt()
    direction = (1 - diffusion.abar_prev - sigma**2).clamp(min=0).sqrt()

    def update(p: Reverse, xt: Tensor, i: int) -> Tensor:
        p = shift_eps(diffusion, p, xt, i, gradient(xt, diffusion.model_timesteps(i, xt))) if gradient else p
        mean = diffusion.gather(diffusion.abar_prev.sqrt(), i, xt) * p.x0 + diffusion.gather(direction, i, xt) * p.eps
        return mean + diffusion.gather(sigma, i, xt) * noise() if i else mean

    return _run_reverse(model, diffusion, xT, update, clip, condition)


def ddim_encode(
    model: Denoiser,
    diffusion: Diffusion,
    x0: Tensor,
    *,
    clip: bool = False,
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
        p = diffusion.p(call_model(model, diffusion, xt, i, **condition), xt, i, clip)
        xt = diffusion.gather(abar_next.sqrt(), i, xt) * p.x0 + diffusion.gather((1 - abar_next).sqrt(), i, xt) * p.eps
        t_reached = int(diffusion.timesteps[i + 1]) if i + 1 < total else t
        yield Step(t, t_reached, xt, p.x0, i + 1, total)


def dpm_solver(
    model: Denoiser,
    diffusion: Diffusion,
    xT: Tensor,
    noise: Noise,
    *,
    eta: float = 0.0,
    clip: bool = True,
    gradient: Gradient | None = None,
    **condition: Any,
) -> Iterator[Step]:
    """Sample by DPM-Solver++(2M), a second-order multistep solver of the probability flow ODE.

    Lu et al. 2022, Algorithm 2. It works best with 5 to 20 steps that are uniform in log SNR.

        x_{t-1} = sigma_{t-1}/sigma_t e^(-eta h) x_t + alpha_{t-1} (1 - e^(-(1+eta) h)) D
                  + sigma_{t-1} sqrt(1 - e^(-2 eta h)) z

    h is the step in lambda = log(alpha/sigma). D extrapolates x_0 from this and the previous step, but not in the first
    two steps, because the x_0 predicted from pure noise is unreliable. eta = 0 never calls `noise`; eta = 1 is the
    paper's SDE-DPM-Solver++(2M). A `gradient` shifts eps as in ddim, before x_0 is clipped. ADM Algorithm 2.
    """
    alpha, sigma = diffusion.abar.sqrt().tolist(), (1 - diffusion.abar).sqrt().tolist()
    half_log_snr, total = (0.5 * log_signal_to_noise(diffusion.abar)).tolist(), len(diffusion)
    x0_history = deque[Tensor](maxlen=2)

    def update(p: Reverse, xt: Tensor, i: int) -> Tensor:
        p = shift_eps(diffusion, p, xt, i, gradient(xt, diffusion.model_timesteps(i, xt))) if gradient else p
        x0 = p.x0.clamp(-1, 1) if clip else p.x0
        x0_history.append(x0)
        if i == 0:
            return x0
        h, extrapolated = half_log_snr[i - 1] - half_log_snr[i], x0
        if i < total - 2:
            extrapolated = x0 + h / (2 * (half_log_snr[i] - half_log_snr[i + 1])) * (x0 - x0_history[-2])
        scaled_xt = sigma[i - 1] / sigma[i] * math.exp(-eta * h) * xt
        mean = scaled_xt - alpha[i - 1] * math.expm1(-(1 + eta) * h) * extrapolated
        return mean + sigma[i - 1] * math.sqrt(-math.expm1(-2 * eta * h)) * noise() if eta else mean

    return _run_reverse(model, diffusion, xT, update, clip, condition)


SAMPLERS: dict[str, Callable[..., Iterator[Step]]] = {"ddpm": ddpm, "ddim": ddim, "dpm_solver": dpm_solver}
