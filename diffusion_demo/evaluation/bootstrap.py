"""Estimates with a standard error, by the bootstrap. Efron 1979."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffusion_demo.sampling.seeds import generator_for

RESAMPLES = 200


class Estimate(NamedTuple):
    """A value with its standard error and its 95 % confidence interval."""

    value: float
    standard_error: float

    @property
    def interval(self) -> tuple[float, float]:
        """Return the lower and upper bound, 1.96 standard errors from the value."""
        return self.value - 1.96 * self.standard_error, self.value + 1.96 * self.standard_error

    def spread(self) -> dict[str, Any]:
        """Return the standard error and the interval as fields of a JSON report."""
        return {"standard_error": self.standard_error, "interval": self.interval}


def bootstrap(statistic: Callable[..., float], *sets: Tensor, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Return statistic(*sets), for sets of rows [N, ...], with its standard error over resampled sets.

    Each set is resampled from its own rows with replacement. The value is that of the original sets, not the mean over
    the resampled ones, because resampling biases many statistics.
    """
    generator = generator_for(seed)

    def resample(rows: Tensor) -> Tensor:
        return rows[torch.randint(len(rows), (len(rows),), generator=generator)]

    values = torch.tensor([statistic(*(resample(rows) for rows in sets)) for _ in range(resamples)])
    return Estimate(statistic(*sets), float(values.std()))
