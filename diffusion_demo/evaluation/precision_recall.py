"""Improved precision and recall: do the samples look like data, and is all of the data among them? Kynkaanniemi et al. 2019."""

from typing import NamedTuple

import torch
from torch import Tensor

from diffusion_demo.evaluation.bootstrap import RESAMPLES, Estimate

NEIGHBORS = 3
MOST = 10_000  # images of a side; ADM's reference batches hold as many. All distances between them are kept in memory.


class _Distances(NamedTuple):
    """float32 [N, N], [M, M] and [N, M]: among the samples, among the reference, between them."""

    samples: Tensor
    reference: Tensor
    between: Tensor


def precision_recall(samples: Tensor, reference: Tensor, k: int = NEIGHBORS) -> tuple[float, float]:
    """The share of samples [N, D] inside a ball of the reference [M, D], and the share of the reference inside one of the samples. Eq. 1 to 3.

    A ball reaches from a point to its k-th nearest neighbor in its own set, itself not counted; N and M are at least k + 1.
    """
    return _shares(_distances(samples, reference), torch.arange(len(samples)), torch.arange(len(reference)), k)


def precision_recall_estimates(samples: Tensor, reference: Tensor, seed: int = 0) -> tuple[Estimate, Estimate]:
    """Both of at most MOST images a side, drawn at random, with the bootstrap's standard errors over both sets.

    An image that is drawn twice counts twice as a point, but has one ball and is not its own neighbor, which would shrink the ball to
    nothing. Needs more than 3 different images in every draw: 20 a side are safe.
    """
    generator = torch.Generator().manual_seed(seed)
    samples, reference = (rows[torch.randperm(len(rows), generator=generator)[:MOST]] for rows in (samples, reference))
    distances = _distances(samples, reference)

    def drawn(count: int) -> Tensor:
        return torch.randint(count, (count,), generator=generator)

    redrawn = [_shares(distances, drawn(len(samples)), drawn(len(reference)), NEIGHBORS) for _ in range(RESAMPLES)]
    whole = _shares(distances, torch.arange(len(samples)), torch.arange(len(reference)), NEIGHBORS)
    errors = torch.tensor(redrawn).std(dim=0).tolist()
    return Estimate(whole[0], errors[0]), Estimate(whole[1], errors[1])


def _distances(samples: Tensor, reference: Tensor) -> _Distances:
    """Not by way of the dot product, in which equal points are not at distance 0."""

    def between(a: Tensor, b: Tensor) -> Tensor:
        return torch.cdist(a.float(), b.float(), compute_mode="donot_use_mm_for_euclid_dist")

    return _Distances(between(samples, samples), between(reference, reference), between(samples, reference))


def _shares(distances: _Distances, samples: Tensor, reference: Tensor, k: int) -> tuple[float, float]:
    """Precision and recall of the images of these numbers."""
    balls, reference_balls = samples.unique(), reference.unique()
    reach, reference_reach = _reach(distances.samples, balls, k), _reach(distances.reference, reference_balls, k)
    inside_reference = (distances.between[:, reference_balls] <= reference_reach).any(dim=1)
    inside_samples = (distances.between[balls] <= reach[:, None]).any(dim=0)
    return float(inside_reference[samples].double().mean()), float(inside_samples[reference].double().mean())


def _reach(within: Tensor, rows: Tensor, k: int) -> Tensor:
    return within[rows][:, rows].kthvalue(k + 1, dim=1).values
