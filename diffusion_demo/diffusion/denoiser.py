"""Calls of a denoiser: any network or function that predicts from a noisy image."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffusion_demo.diffusion.process import Diffusion

Denoiser = Callable[..., Tensor]
"""Callable model(xt, t, **condition) -> tensor, with xt float [N, C, H, W] and t [N], int64 (float32 if rescaled)."""

Interval = tuple[int, int]
"""The lowest and the highest model timestep at which guidance applies, inclusive. Kynkaanniemi et al. 2024."""


@dataclass(frozen=True, eq=False)
class WithinInterval:
    """A callable(xt, t, **condition) that is `inside` at the timesteps of an interval and `outside` at all others.

    A caller that knows the timestep as a number asks `at`, because reading it from t would wait for a GPU.
    """

    interval: Interval
    inside: Callable[..., Tensor]
    outside: Callable[..., Tensor]

    def __call__(self, xt: Tensor, t: Tensor, **condition: Any) -> Tensor:
        """Call `inside` or `outside` at t [N], which must be the same for every row."""
        return self.at(int(t[0]))(xt, t, **condition)

    def at(self, timestep: int) -> Callable[..., Tensor]:
        """Return `inside` or `outside`, whichever applies at this timestep."""
        low, high = self.interval
        return self.inside if low <= timestep <= high else self.outside


def at_index(function: Callable[..., Tensor], diffusion: Diffusion, t: int | Tensor) -> Callable[..., Tensor]:
    """Return the part of a WithinInterval that applies at chain index t, and any other callable unchanged."""
    if isinstance(function, WithinInterval) and isinstance(t, int):
        return function.at(int(diffusion.timesteps[t] * diffusion.time_scale))
    return function


def call_model(model: Denoiser, diffusion: Diffusion, xt: Tensor, t: int | Tensor, **condition: Any) -> Tensor:
    """Return the network output at x_t and chain index t, in the dtype of x_t.

    Raises FloatingPointError if the output is not finite.
    """
    output = at_index(model, diffusion, t)(xt, diffusion.model_timesteps(t, xt), **condition).to(xt.dtype)
    # The sum is a fast pre-check; it can overflow when every value is finite.
    if not math.isfinite(output.sum()) and (nonfinite := int((~torch.isfinite(output)).sum())):
        timesteps = sorted(set(diffusion.model_timesteps(t, xt).tolist()))
        raise FloatingPointError(
            f"{nonfinite} of {output.numel()} network output values at t = {timesteps} are NaN or infinite"
        )
    return output
