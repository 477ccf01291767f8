"""Data of the forward-process explorer: an image, noise, and the tables of every schedule. The browser computes x_t."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffusion_demo.data import ImageTransform
from diffusion_demo.diffusion.losses import mean_flat, normal_kl
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import SCHEDULES, named_betas, signal_to_noise, terminal_warning
from diffusion_demo.errors import BadInput
from diffusion_demo.ui.inspect.image_file import load_image

SIZE = 128
MIN_TIMESTEPS, MAX_TIMESTEPS = 2, 4000
SCHEDULE_TITLES = {
    "squaredcos_cap_v2": "cosine",
    "scaled_linear": "scaled linear",
    "const": "constant",
    "warmup10": "warm-up, 10\N{NO-BREAK SPACE}%",
    "warmup50": "warm-up, 50\N{NO-BREAK SPACE}%",
}


def parse_num_timesteps(value: float | None) -> int:
    """Return the T of a number field. Raises BadInput unless it is an integer from MIN_TIMESTEPS to MAX_TIMESTEPS."""
    if not isinstance(value, int | float) or value % 1 or not MIN_TIMESTEPS <= value <= MAX_TIMESTEPS:
        raise BadInput(f"T must be a whole number from {MIN_TIMESTEPS} to {MAX_TIMESTEPS}.")
    return int(value)


def load_square(path: str | Path) -> np.ndarray:
    """Return the center square of an image file, uint8 [3, SIZE, SIZE]. Raises UnreadableImage."""
    return load_image(path, ImageTransform(SIZE))


def make_noise(seed: int) -> Tensor:
    """Return eps ~ N(0, I), float32 [SIZE, SIZE, 3], which depends on the seed only."""
    return torch.randn(SIZE, SIZE, 3, generator=torch.Generator().manual_seed(seed))


def kl_bits(diffusion: Diffusion, x0: Tensor) -> Tensor:
    """Return KL(q(x_t | x_0) || N(0, I)) in bits/dim at every t, float64 [T], for an image x0 [1, C, H, W]. DDPM Eq. 5.

    Its last value is L_T. The divergence depends on x_0 through its mean square only, so it is computed for one pixel
    that has this mean square.
    """
    pixel = mean_flat(x0.double() ** 2).sqrt().reshape(1, 1, 1, 1).expand(len(diffusion), 1, 1, 1)
    q = diffusion.q_mean_variance(pixel, torch.arange(len(diffusion)))
    zero = torch.zeros((), dtype=torch.float64)
    return mean_flat(normal_kl(q.mean, q.log_variance, zero, zero)) / np.log(2)


def schedule_tables(name: str, num_timesteps: int, x0: Tensor) -> dict[str, Any]:
    """Return the tables of a schedule, float64 [T] as base64, its title, terminal SNR and warning.

    Raises ValueError if the schedule is not defined for this number of timesteps.
    """
    # Epsilon prediction is invalid for schedules with abar_T = 0; nothing is predicted here, so any other type will do.
    diffusion = Diffusion(named_betas(name, num_timesteps), prediction_type="sample")
    tables = {"betas": diffusion.betas, "abar": diffusion.abar, "kl": kl_bits(diffusion, x0)}
    return {
        "name": name,
        "label": SCHEDULE_TITLES.get(name, name),
        "snr": float(signal_to_noise(diffusion.abar)[-1]),
        "warning": terminal_warning(diffusion.abar),
        **{key: _base64(table.numpy()) for key, table in tables.items()},
    }


def make_explorer_value(pixels: np.ndarray, seed: int, num_timesteps: int, example: str | None) -> dict[str, Any]:
    """Return the value of the explorer component for an image, uint8 [3, SIZE, SIZE].

    example: the name of the image in links, or None for an uploaded image. In the result x0 is uint8 [SIZE, SIZE, 3]
    and eps float32 [SIZE, SIZE, 3], both as base64.
    """
    x0 = torch.from_numpy(pixels).double()[None] / 127.5 - 1
    schedules, missing = [], []
    for name in SCHEDULES:
        try:
            schedules.append(schedule_tables(name, num_timesteps, x0))
        except ValueError as error:
            missing.append({"label": SCHEDULE_TITLES.get(name, name), "why": str(error)})
    return {
        "size": SIZE,
        "T": num_timesteps,
        "seed": seed,
        "example": example,
        "x0": _base64(pixels.transpose(1, 2, 0)),
        "eps": _base64(make_noise(seed).numpy()),
        "schedules": schedules,
        "missing": missing,
    }


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()
