"""Noise schedules beta_t.

Every table is a float64 tensor of shape [T]; index t = 0 is already one step noisy, as in the papers' code.
"""

import math

import torch
from torch import Tensor

MAX_TERMINAL_SIGNAL = 1e-3


def linear_betas(num_timesteps: int) -> Tensor:
    """beta_t from 1e-4 to 0.02 in equal steps, both ends times 1000/T so that the total noise does not depend on T.

    DDPM section 4 (T = 1000); the scaling is the Improved DDPM code's. Raises ValueError for T <= 20, where beta reaches 1.
    """
    if num_timesteps <= 20:
        raise ValueError(
            f"the scaled linear schedule needs more than 20 timesteps, not {num_timesteps}: beta would reach 1"
        )
    scale = 1000 / num_timesteps
    return torch.linspace(scale * 1e-4, scale * 0.02, num_timesteps, dtype=torch.float64)


def cosine_betas(num_timesteps: int, max_beta: float = 0.999) -> Tensor:
    """beta_t = 1 - abar(t+1)/abar(t) with abar(u) = cos^2((u/T + 0.008)/1.008 * pi/2), capped at max_beta. Improved DDPM Eq. 17."""
    u = torch.arange(num_timesteps + 1, dtype=torch.float64) / num_timesteps
    abar = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - abar[1:] / abar[:-1]).clamp(max=max_beta)


def quadratic_betas(num_timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> Tensor:
    """beta_t whose square roots rise in equal steps: the DDPM code's "quad", diffusers' "scaled_linear"."""
    return torch.linspace(beta_start**0.5, beta_end**0.5, num_timesteps, dtype=torch.float64) ** 2


def constant_betas(num_timesteps: int, beta_end: float = 0.02) -> Tensor:
    """beta_t = beta_end for every t: the DDPM code's "const"."""
    return torch.full((num_timesteps,), beta_end, dtype=torch.float64)


def warmup_betas(num_timesteps: int, share: float, beta_start: float = 1e-4, beta_end: float = 0.02) -> Tensor:
    """beta_t that rises from beta_start over the first `share` of the steps and then stays: the DDPM code's "warmup10" and "warmup50"."""
    betas, rising = constant_betas(num_timesteps, beta_end), int(num_timesteps * share)
    betas[:rising] = torch.linspace(beta_start, beta_end, rising, dtype=torch.float64)
    return betas


def jsd_betas(num_timesteps: int) -> Tensor:
    """beta_t = 1/T, 1/(T-1), ... 1: the DDPM code's "jsd" (Sohl-Dickstein et al. 2015, section 2.4.1). It ends at abar_T = 0."""
    return 1 / torch.arange(num_timesteps, 0, -1, dtype=torch.float64)


def sigmoid_betas(num_timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> Tensor:
    """beta_t along a sigmoid from -6 to 6 between beta_start and beta_end: diffusers' "sigmoid" (GeoDiff)."""
    return (
        torch.sigmoid(torch.linspace(-6, 6, num_timesteps, dtype=torch.float64)) * (beta_end - beta_start) + beta_start
    )


SCHEDULES = {
    "linear": linear_betas,
    "squaredcos_cap_v2": cosine_betas,
    "scaled_linear": quadratic_betas,
    "sigmoid": sigmoid_betas,
    "const": constant_betas,
    "jsd": jsd_betas,
    "warmup10": lambda num_timesteps: warmup_betas(num_timesteps, 0.1),
    "warmup50": lambda num_timesteps: warmup_betas(num_timesteps, 0.5),
}
"""The schedules by name: diffusers' names where it has them, else the DDPM code's."""


def named_betas(name: str, num_timesteps: int) -> Tensor:
    """beta_t of the schedule called `name`: float64 [T]. Raises ValueError for a name that SCHEDULES lacks, or fewer than 1 timestep."""
    if name not in SCHEDULES:
        raise ValueError(f"no noise schedule is called {name!r}; there are {', '.join(SCHEDULES)}")
    if num_timesteps < 1:
        raise ValueError(f"a schedule needs at least 1 timestep, not {num_timesteps}")
    return SCHEDULES[name](num_timesteps)


def alphas_cumprod(betas: Tensor) -> Tensor:
    """abar_t = product over s <= t of (1 - beta_s): float64 [T]. DDPM section 2."""
    return torch.cumprod(1 - betas, dim=0)


def betas_from_alphas_cumprod(abar: Tensor) -> Tensor:
    """beta_t = 1 - abar_t / abar_{t-1}, with abar_{-1} = 1: float64 [T]. Improved DDPM section 4."""
    return 1 - abar / torch.cat([abar.new_ones(1), abar[:-1]])


def signal_to_noise(abar: Tensor) -> Tensor:
    """SNR(t) = abar_t / (1 - abar_t): float64 [T]. Kingma et al. 2021 Eq. 2."""
    return abar / (1 - abar)


def log_signal_to_noise(abar: Tensor) -> Tensor:
    """log SNR(t), natural: float64 [T]; -inf where abar_t is 0."""
    return abar.log() - torch.log1p(-abar)


def terminal_warning(abar: Tensor) -> str | None:
    """A sentence when x_T keeps more than a trace of the image (abar_T > 1e-3), so that sampling from pure noise starts wrong; else None.

    Lin et al. 2024, section 2: a schedule must end in noise.
    """
    last = float(abar[-1])
    if last <= MAX_TERMINAL_SIGNAL:
        return None
    return f"the last step still holds a share of {last:.3g} of the image (abar_T): take more timesteps, larger betas, or the cosine schedule"
