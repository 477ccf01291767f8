"""Nearest training image of each sample, to detect memorization."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion_demo.evaluation.bootstrap import Estimate, bootstrap

BLOCK_ROWS = 4096


class Nearest(NamedTuple):
    """For each of N queries: the distance to the nearest row, float64 [N], and the index of that row, int64 [N]."""

    distance: Tensor
    row: Tensor


class Closeness(NamedTuple):
    """Distances of samples to their nearest training images, compared with those of images not used for training.

    nearer: share of the samples nearer than the median of the other images: 0.5 for unseen data, toward 1 for copies.
    much_nearer: share nearer than the 5 % quantile of the other images: 0.05 for unseen data; shows a few copies.
    ratio: ratio of the medians: 1 for unseen data, toward 0 for copies.
    median, typical: median distance of the samples and of the other images.
    """

    nearer: Estimate
    much_nearer: Estimate
    ratio: Estimate
    median: float
    typical: float


def nearest(queries: Tensor, rows: Tensor, group_ids: tuple[Tensor, Tensor] | None = None) -> Nearest:
    """Return the Euclidean nearest of rows [M, ...] to each of queries [N, ...].

    group_ids: int64 [N] and [M]; queries and rows with equal ids are not compared.
    """
    queries, rows = queries.flatten(1), rows.flatten(1)
    best, row = torch.full((len(queries),), torch.inf), torch.zeros(len(queries), dtype=torch.int64)
    for start in range(0, len(rows), BLOCK_ROWS):
        end = start + BLOCK_ROWS
        distances = torch.cdist(queries.float(), rows[start:end].float())
        if group_ids:
            distances[group_ids[0][:, None] == group_ids[1][start:end]] = torch.inf
        block = distances.min(dim=1)
        row = torch.where(block.values < best, block.indices + start, row)
        best = torch.minimum(best, block.values)
    # The rounding error of cdist is as large as the difference between an image and a near copy.
    return Nearest((queries.double() - rows[row].double()).norm(dim=1), row)


def closeness(samples: Tensor, others: Tensor, seed: int = 0) -> Closeness:
    """Compare the distances [N] of samples and [M] of other images to their nearest training images.

    The standard errors are from the bootstrap over both sets.
    """

    def share_below(quantile: float, ours: Tensor, theirs: Tensor) -> float:
        return float((ours < theirs.quantile(quantile)).double().mean())

    def ratio(ours: Tensor, theirs: Tensor) -> float:
        return float(ours.median() / theirs.median().clamp(min=1e-9))  # 0 if most images have a duplicate

    nearer, much_nearer, median_ratio = (
        bootstrap(statistic, samples, others, seed=seed)
        for statistic in (partial(share_below, 0.5), partial(share_below, 0.05), ratio)
    )
    return Closeness(nearer, much_nearer, median_ratio, float(samples.median()), float(others.median()))
