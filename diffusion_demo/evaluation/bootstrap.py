"""A figure with its uncertainty, and the bootstrap that gives it. Efron 1979."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

RESAMPLES = 200


class Estimate(NamedTuple):
    """A value with its standard error, and the interval of 95 % that follows from it."""

    value: float
    standard_error: float

    @property
    def interval(self) -> tuple[float, float]:
        return self.value - 1.96 * self.standard_error, self.value + 1.96 * self.standard_error

    def spread(self) -> dict:
        """The standard error and the interval, for JSON."""
        return {"standard_error": self.standard_error, "interval": self.interval}


def bootstrap(statistic: Callable[..., float], *sets: Tensor, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """statistic(*sets) of sets of rows [N, ...], with the spread that it has when each set is drawn anew from its own rows.

    The mean of the redrawn values is not used: drawing with replacement pushes many a statistic to one side.
    """
    generator = torch.Generator().manual_seed(seed)

    def again(rows: Tensor) -> Tensor:
        return rows[torch.randint(len(rows), (len(rows),), generator=generator)]

    redrawn = torch.tensor([statistic(*(again(rows) for rows in sets)) for _ in range(resamples)])
    return Estimate(statistic(*sets), float(redrawn.std()))
