"""Noise schedules beta_t, and the timesteps that a sampler visits.

Every table is a float64 tensor of shape [T]; index t = 0 is already one step noisy, as in the papers' code.
"""

import math

import torch
from torch import Tensor


def linear_betas(num_timesteps: int) -> Tensor:
    """beta_t from 1e-4 to 0.02 in equal steps, both ends times 1000/T so that the total noise does not depend on T.

    DDPM section 4 (T = 1000); the scaling is the Improved DDPM code's. Raises ValueError for T <= 20, where beta reaches 1.
    """
    if num_timesteps <= 20:
        raise ValueError(f"the scaled linear schedule needs more than 20 timesteps, not {num_timesteps}: beta would reach 1")
    scale = 1000 / num_timesteps
    return torch.linspace(scale * 1e-4, scale * 0.02, num_timesteps, dtype=torch.float64)


def cosine_betas(num_timesteps: int, max_beta: float = 0.999) -> Tensor:
    """beta_t = 1 - abar(t+1)/abar(t) with abar(u) = cos^2((u/T + 0.008)/1.008 * pi/2), capped at max_beta. Improved DDPM Eq. 17."""
    if num_timesteps < 1:
        raise ValueError(f"a schedule needs at least 1 timestep, not {num_timesteps}")
    u = torch.arange(num_timesteps + 1, dtype=torch.float64) / num_timesteps
    abar = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - abar[1:] / abar[:-1]).clamp(max=max_beta)


SCHEDULES = {"linear": linear_betas, "squaredcos_cap_v2": cosine_betas}
"""The schedules by their names in diffusers."""


def named_betas(name: str, num_timesteps: int) -> Tensor:
    """beta_t of the schedule called `name`: float64 [T]. Raises ValueError for a name that SCHEDULES lacks."""
    if name not in SCHEDULES:
        raise ValueError(f"no noise schedule is called {name!r}; there are {', '.join(SCHEDULES)}")
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


def spaced_timesteps(num_timesteps: int, count: int) -> list[int]:
    """`count` of the timesteps 0 .. T-1, ascending and evenly spread, with both ends. Improved DDPM section 4.

    One step alone is T-1: a sampler starts from pure noise. Positions are accumulated in floating point and rounded half
    to even, as in the papers' code. Raises ValueError unless 1 <= count <= T.
    """
    if not 1 <= count <= num_timesteps:
        raise ValueError(f"steps must be from 1 to {num_timesteps} (the timesteps that the model was trained with), not {count}")
    if count == 1:
        return [num_timesteps - 1]
    stride = (num_timesteps - 1) / (count - 1)
    steps, position = [], 0.0
    for _ in range(count):
        steps.append(round(position))
        position += stride
    return steps
