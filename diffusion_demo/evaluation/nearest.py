"""The nearest training image of each sample: is the model copying?"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion_demo.evaluation.bootstrap import Estimate, bootstrap

ROWS_AT_ONCE = 4096


class Nearest(NamedTuple):
    """For each of N queries: the distance float64 [N] to the nearest row, and that row's number int64 [N]."""

    distance: Tensor
    row: Tensor


class Closeness(NamedTuple):
    """How near samples are to training images, beside images that were never trained on.

    nearer: the share of the samples nearer than the median of these (0.5 for samples like data that the model never saw, towards 1 for
    copies); much_nearer: nearer than the nearest twentieth of these (0.05), which shows when some are copies; ratio: of the medians (1,
    towards 0).
    """

    nearer: Estimate
    much_nearer: Estimate
    ratio: Estimate
    median: float
    typical: float


def nearest(queries: Tensor, rows: Tensor, apart: tuple[Tensor, Tensor] | None = None) -> Nearest:
    """The Euclidean nearest of rows [M, ...] to each of queries [N, ...]; apart: names [N] and [M], of which equal ones are not compared."""
    queries, rows = queries.flatten(1), rows.flatten(1)
    best, row = torch.full((len(queries),), torch.inf), torch.zeros(len(queries), dtype=torch.int64)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        end = start + ROWS_AT_ONCE
        distances = torch.cdist(queries.float(), rows[start:end].float())
        if apart:
            distances[apart[0][:, None] == apart[1][start:end]] = torch.inf
        found = distances.min(dim=1)
        row = torch.where(found.values < best, found.indices + start, row)
        best = torch.minimum(best, found.values)
    # cdist's own figure is rounded by as much as a near copy differs
    return Nearest((queries.double() - rows[row].double()).norm(dim=1), row)


def closeness(samples: Tensor, others: Tensor, seed: int = 0) -> Closeness:
    """Of the distances of N samples and of M other images to their nearest training images, with the bootstrap's errors over both."""

    def share_below(quantile: float, ours: Tensor, theirs: Tensor) -> float:
        return float((ours < theirs.quantile(quantile)).double().mean())

    def ratio(ours: Tensor, theirs: Tensor) -> float:
        return float(ours.median() / theirs.median().clamp(min=1e-9))  # 0 where most images are there twice

    estimates = (
        bootstrap(statistic, samples, others, seed=seed)
        for statistic in (partial(share_below, 0.5), partial(share_below, 0.05), ratio)
    )
    return Closeness(*estimates, float(samples.median()), float(others.median()))
