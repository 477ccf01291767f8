"""Alternating time measurements and the rows of the benchmark table."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from diffusion_demo.paths import CHECKPOINTS

BUNDLED = CHECKPOINTS / "avatars-32"

Times = dict[str, list[float]]
"""The seconds of each candidate, one per round."""


@dataclass(frozen=True)
class Row:
    """A row of the table: what was measured, the result here, the baseline, and their comparison."""

    what: str
    here: str
    baseline: str = ""
    comparison: str = ""

    def __str__(self) -> str:
        return f"| {self.what} | {self.here} | {self.baseline} | {self.comparison} |"


def seconds(work: Callable[[], object]) -> float:
    """Return the duration of the work, including its asynchronous work on the GPU."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()
    return time.perf_counter() - start


def in_turns(works: dict[str, Callable[[], object]], rounds: int) -> Times:
    """Run all works alternately and return their times, without a warm-up round.

    Alternating spreads a slowdown of the machine over all works.
    """
    counted = [{name: seconds(work) for name, work in works.items()} for _ in range(rounds + 1)][1:]
    return {name: [times[name] for times in counted] for name in works}


def pace(times: Times, name: str, count: int) -> float:
    """Return the median number of items per second, for works of `count` items."""
    return count / statistics.median(times[name])


def ratio(times: Times, over: str, under: str) -> str:
    """Return the median of over / under within each round, with minimum, maximum and number of rounds in brackets."""
    ratios = sorted(a / b for a, b in zip(times[over], times[under], strict=True))
    return f"{statistics.median(ratios):.3g} ({ratios[0]:.3g} to {ratios[-1]:.3g}, n = {len(ratios)})"
