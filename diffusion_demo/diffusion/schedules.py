"""Noise schedules beta_t.

Every table is a float64 tensor of shape [T]. Index t = 0 is the first noisy step, as in the papers' code.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

MAX_TERMINAL_SIGNAL = 1e-3


def linear_betas(num_timesteps: int) -> Tensor:
    """Return beta_t, linear from 1e-4 to 0.02, with both ends times 1000/T to keep the total noise independent of T.

    float64 [T]. DDPM section 4 (T = 1000); the scaling is that of the Improved DDPM code.

    Raises ValueError for T <= 20, where beta reaches 1.
    """
    if num_timesteps <= 20:
        raise ValueError(
            f"the linear schedule needs more than 20 timesteps, not {num_timesteps}, because beta would reach 1"
        )
    scale = 1000 / num_timesteps
    return torch.linspace(scale * 1e-4, scale * 0.02, num_timesteps, dtype=torch.float64)


def cosine_betas(num_timesteps: int, max_beta: float = 0.999) -> Tensor:
    """Return beta_t = 1 - abar(t+1)/abar(t) with abar(u) = cos^2((u/T + 0.008)/1.008 * pi/2), capped at max_beta.

    float64 [T]. Improved DDPM Eq. 17.
    """
    u = torch.arange(num_timesteps + 1, dtype=torch.float64) / num_timesteps
    abar = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - abar[1:] / abar[:-1]).clamp(max=max_beta)


def quadratic_betas(num_timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> Tensor:
    """Return beta_t whose square roots are linear: "quad" in the DDPM code, "scaled_linear" in diffusers.

    float64 [T].
    """
    return torch.linspace(beta_start**0.5, beta_end**0.5, num_timesteps, dtype=torch.float64) ** 2


def constant_betas(num_timesteps: int, beta_end: float = 0.02) -> Tensor:
    """Return beta_t = beta_end for every t: "const" in the DDPM code. float64 [T]."""
    return torch.full((num_timesteps,), beta_end, dtype=torch.float64)


def warmup_betas(num_timesteps: int, share: float, beta_start: float = 1e-4, beta_end: float = 0.02) -> Tensor:
    """Return beta_t, linear from beta_start to beta_end over the first fraction `share` of the steps, then constant.

    float64 [T]. "warmup10" and "warmup50" in the DDPM code.
    """
    betas, warmup_steps = constant_betas(num_timesteps, beta_end), int(num_timesteps * share)
    betas[:warmup_steps] = torch.linspace(beta_start, beta_end, warmup_steps, dtype=torch.float64)
    return betas


def jsd_betas(num_timesteps: int) -> Tensor:
    """Return beta_t = 1/T, 1/(T-1), ... 1: "jsd" in the DDPM code. Sohl-Dickstein et al. 2015, section 2.4.1.

    float64 [T]. The chain ends at abar_T = 0.
    """
    return 1 / torch.arange(num_timesteps, 0, -1, dtype=torch.float64)


def sigmoid_betas(num_timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> Tensor:
    """Return beta_t between beta_start and beta_end along a sigmoid on [-6, 6]: "sigmoid" in diffusers (GeoDiff).

    float64 [T].
    """
    weights = torch.sigmoid(torch.linspace(-6, 6, num_timesteps, dtype=torch.float64))
    return weights * (beta_end - beta_start) + beta_start


def flow_betas(num_timesteps: int) -> Tensor:
    """Return beta_t of the straight path (1 - tau) x_0 + tau eps, rescaled to unit variance, at tau = (t + 1)/T.

    abar = (1 - tau)^2 / ((1 - tau)^2 + tau^2), which ends at abar_T = 0. float64 [T]. Lipman et al. 2023 Eq. 22;
    Liu et al. 2023 Eq. 1.
    """
    tau = torch.arange(1, num_timesteps + 1, dtype=torch.float64) / num_timesteps
    return betas_from_alphas_cumprod((1 - tau) ** 2 / ((1 - tau) ** 2 + tau**2))


SCHEDULES: dict[str, Callable[[int], Tensor]] = {
    "linear": linear_betas,
    "squaredcos_cap_v2": cosine_betas,
    "scaled_linear": quadratic_betas,
    "sigmoid": sigmoid_betas,
    "const": constant_betas,
    "jsd": jsd_betas,
    "warmup10": lambda num_timesteps: warmup_betas(num_timesteps, 0.1),
    "warmup50": lambda num_timesteps: warmup_betas(num_timesteps, 0.5),
    "flow": flow_betas,
}
"""Schedules by name: the name in diffusers, or else the name in the DDPM code, or "flow"."""


def named_betas(name: str, num_timesteps: int) -> Tensor:
    """Return beta_t of the schedule `name`, float64 [T].

    Raises ValueError for a name that is not in SCHEDULES, or fewer than 1 timestep.
    """
    if name not in SCHEDULES:
        raise ValueError(f"unknown noise schedule {name!r}; choose from {', '.join(SCHEDULES)}")
    if num_timesteps < 1:
        raise ValueError(f"a noise schedule needs at least 1 timestep, not {num_timesteps}")
    return SCHEDULES[name](num_timesteps)


def alphas_cumprod(betas: Tensor) -> Tensor:
    """Return abar_t = product over s <= t of (1 - beta_s), float64 [T]. DDPM section 2."""
    return torch.cumprod(1 - betas, dim=0)


def betas_from_alphas_cumprod(abar: Tensor) -> Tensor:
    """Return beta_t = 1 - abar_t / abar_{t-1}, with abar_{-1} = 1, float64 [T]. Improved DDPM section 4."""
    return 1 - abar / torch.cat([abar.new_ones(1), abar[:-1]])


def zero_terminal_snr(betas: Tensor) -> Tensor:
    """Return betas [T] whose sqrt(abar_t) is shifted and scaled so that abar_T = 0. Lin et al. 2024, Algorithm 1."""
    roots = alphas_cumprod(betas).sqrt()
    return betas_from_alphas_cumprod(((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2)


def signal_to_noise(abar: Tensor) -> Tensor:
    """Return SNR(t) = abar_t / (1 - abar_t), float64 [T]. Kingma et al. 2021 Eq. 2."""
    return abar / (1 - abar)


def log_signal_to_noise(abar: Tensor) -> Tensor:
    """Return the natural logarithm of SNR(t), float64 [T]. It is -inf where abar_t is 0."""
    return abar.log() - torch.log1p(-abar)


def terminal_warning(abar: Tensor) -> str | None:
    """Return a warning if x_T is not pure noise (abar_T > 1e-3), which is where sampling starts; otherwise None.

    The warning is one sentence without a final period. Lin et al. 2024, section 2.
    """
    terminal_abar = float(abar[-1])
    if terminal_abar <= MAX_TERMINAL_SIGNAL:
        return None
    return (
        f"the schedule does not end in pure noise (abar_T = {terminal_abar:.3g}); "
        "use more timesteps, larger betas or the cosine schedule"
    )
