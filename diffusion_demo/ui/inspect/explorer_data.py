"""What Python hands to the explorer of the Inspect tab: an image, a noise, and the tables of every schedule. The browser draws x_t from it."""

import base64
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffusion_demo.data import UNREADABLE, ImageTransform, UnreadableFile, decode
from diffusion_demo.data.file_errors import readable
from diffusion_demo.data.preprocess import open_image
from diffusion_demo.diffusion.losses import mean_flat, normal_kl
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import SCHEDULES, named_betas, signal_to_noise, terminal_warning
from diffusion_demo.errors import BadInput

SIZE = 128
LEAST_STEPS, MOST_STEPS = 2, 4000
MAX_MEGAPIXELS = 50
LABELS = {
    "squaredcos_cap_v2": "cosine",
    "scaled_linear": "scaled linear",
    "const": "constant",
    "warmup10": "warm-up, 10 %",
    "warmup50": "warm-up, 50 %",
}


def number_of_steps(wanted: float | None) -> int:
    """T as somebody typed it. Raises BadInput unless it is a whole number from LEAST_STEPS to MOST_STEPS."""
    if not isinstance(wanted, int | float) or wanted % 1 or not LEAST_STEPS <= wanted <= MOST_STEPS:
        raise BadInput(f"T must be a whole number from {LEAST_STEPS} to {MOST_STEPS}.")
    return int(wanted)


def square(path: str | Path) -> np.ndarray:
    """The center square of the image in a file, as the explorer noises it: uint8 [3, SIZE, SIZE]. Raises BadInput with a sentence."""
    try:
        data = Path(path).read_bytes()
        with readable():
            width, height = open_image(data).size
        if width * height > MAX_MEGAPIXELS * 1_000_000:
            raise UnreadableFile(f"It has more than {MAX_MEGAPIXELS} megapixels; make it smaller.")
        return decode(data, ImageTransform(SIZE))
    except UNREADABLE as error:
        reason_for = error if isinstance(error, UnreadableFile) else "Try a PNG or JPEG."
        raise BadInput(f"This image cannot be read. {reason_for}") from error


def noise(seed: int) -> Tensor:
    """eps ~ N(0, I): float32 [SIZE, SIZE, 3], from the seed alone."""
    return torch.randn(SIZE, SIZE, 3, generator=torch.Generator().manual_seed(seed))


def kl_bits(diffusion: Diffusion, x0: Tensor) -> Tensor:
    """KL(q(x_t | x_0) || N(0, I)) in bits/dim for an image x0 [1, C, H, W], at every t: float64 [T], which ends with L_T. DDPM Eq. 5.

    The divergence has x_0 in it only as its mean square, so one pixel of that square stands for the whole image.
    """
    alike = mean_flat(x0.double() ** 2).sqrt().reshape(1, 1, 1, 1).expand(len(diffusion), 1, 1, 1)
    q = diffusion.q_mean_variance(alike, torch.arange(len(diffusion)))
    zero = torch.zeros((), dtype=torch.float64)
    return mean_flat(normal_kl(q.mean, q.log_variance, zero, zero)) / np.log(2)


def schedule(name: str, num_timesteps: int, x0: Tensor) -> dict:
    """One schedule's tables, float64 [T] as base64, and how it ends. Raises ValueError where the schedule cannot have that many steps."""
    # A chain that may end at abar_T = 0 cannot predict eps; nothing is predicted here.
    diffusion = Diffusion(named_betas(name, num_timesteps), prediction_type="sample")
    tables = {"betas": diffusion.betas, "abar": diffusion.abar, "kl": kl_bits(diffusion, x0)}
    return {
        "name": name,
        "label": LABELS.get(name, name),
        "snr": float(signal_to_noise(diffusion.abar)[-1]),
        "warning": terminal_warning(diffusion.abar),
        **{key: _base64(table.numpy()) for key, table in tables.items()},
    }


def explorer(pixels: np.ndarray, seed: int, num_timesteps: int, example: str | None) -> dict:
    """The explorer's value, for an image uint8 [3, SIZE, SIZE]; example is the name that a link gives it, None for one's own.

    x0 is uint8 [SIZE, SIZE, 3] and eps float32 [SIZE, SIZE, 3], both as base64.
    """
    x0 = torch.from_numpy(pixels).double()[None] / 127.5 - 1
    schedules, missing = [], []
    for name in SCHEDULES:
        try:
            schedules.append(schedule(name, num_timesteps, x0))
        except ValueError as error:
            missing.append({"label": LABELS.get(name, name), "why": str(error)})
    return {
        "size": SIZE,
        "T": num_timesteps,
        "seed": seed,
        "example": example,
        "x0": _base64(pixels.transpose(1, 2, 0)),
        "eps": _base64(noise(seed).numpy()),
        "schedules": schedules,
        "missing": missing,
    }


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()
