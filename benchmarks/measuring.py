"""Rounds in which everything takes its turn, and the row of a table that comes of them."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

BUNDLED = Path(__file__).resolve().parents[1] / "checkpoints" / "avatars-32"

Times = dict[str, list[float]]
"""The seconds that each work took, round for round."""


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured, what it is here, what stands beside it, and how the two compare."""

    what: str
    here: str
    beside: str = ""
    against: str = ""

    def __str__(self) -> str:
        return f"| {self.what} | {self.here} | {self.beside} | {self.against} |"


def seconds(work: Callable[[], object]) -> float:
    """How long it takes, to the end of what it left to the GPU."""
    begun = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()
    return time.perf_counter() - begun


def in_turns(works: dict[str, Callable[[], object]], rounds: int) -> Times:
    """All works in turn, so many times, after a round that does not count: a machine that slows down slows them all."""
    counted = [{name: seconds(work) for name, work in works.items()} for _ in range(rounds + 1)][1:]
    return {name: [times[name] for times in counted] for name in works}


def pace(times: Times, name: str, count: int) -> float:
    """How many of `count` things that one work does it does in a second: the median."""
    return count / statistics.median(times[name])


def ratio(times: Times, over: str, under: str) -> str:
    """The median of over / under, each within a round, and in brackets the least and the most of them, and their number."""
    found = sorted(a / b for a, b in zip(times[over], times[under], strict=True))
    return f"{statistics.median(found):.3g} ({found[0]:.3g} to {found[-1]:.3g}, n = {len(found)})"
