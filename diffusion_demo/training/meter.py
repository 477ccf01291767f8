"""Running means of the training measures between two reports."""

import time
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion_demo.training import events

QUARTERS = 4  # noise bands of a step event


class StepMeasures(NamedTuple):
    """Measures of one optimizer step over the global batch.

    rows       float32 [N, 3]: loss, error and bound term (NaN without one) of each image
    t          int64 [N]
    grad_norm  float32 []: norm of the gradient before clipping
    """

    rows: Tensor
    t: Tensor
    grad_norm: Tensor


class Meter:
    """Running means since the last report. The measures stay on their device until `report` reads them."""

    def __init__(self, num_timesteps: int, batch_size: int):
        self.num_timesteps: int = num_timesteps
        self.batch_size: int = batch_size
        self._created = time.monotonic()
        self._reset()

    def _reset(self) -> None:
        self.count: int = 0
        self._rows: list[Tensor] = []
        self._grad_norms: list[Tensor] = []
        self._started = time.monotonic()

    def add(self, measures: StepMeasures) -> None:
        """Add the measures of one step."""
        rows, t, grad_norm = measures
        self.count += 1
        self._rows.append(torch.cat([rows, t.to(rows).unsqueeze(1)], dim=1))
        self._grad_norms.append(grad_norm.detach())

    def report(self, step: int, learning_rate: float, images_seen: int) -> events.Step:
        """Return the means since the last report as an event, and reset them."""
        loss, error, vlb, t = torch.cat(self._rows).T.cpu()
        event = events.Step(
            step,
            loss.mean().item(),
            error.mean().item(),
            None if vlb.isnan().any() else vlb.mean().item(),
            mean_error_by_noise(error, t, self.num_timesteps, QUARTERS),
            torch.stack(self._grad_norms).mean().item(),
            learning_rate,
            images_seen,
            self.count * self.batch_size / (time.monotonic() - self._started),
            time.monotonic() - self._created,
        )
        self._reset()
        return event


def mean_error_by_noise(error: Tensor, t: Tensor, num_timesteps: int, bands: int) -> tuple[float | None, ...]:
    """Return the mean of `error` [N] over each of `bands` equal ranges of t [N], from the least noise to the most.

    A range without any t gives None.
    """
    band = (bands * t / num_timesteps).floor()
    return tuple(error[band == i].mean().item() if bool((band == i).any()) else None for i in range(bands))
