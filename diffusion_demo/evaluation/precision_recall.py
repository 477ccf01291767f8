"""Improved precision (fidelity of the samples) and recall (coverage of the data). Kynkaanniemi et al. 2019."""

from typing import NamedTuple

import torch
from torch import Tensor

from diffusion_demo.evaluation.bootstrap import RESAMPLES, Estimate
from diffusion_demo.sampling.seeds import generator_for

NEIGHBORS = 3
MAX_IMAGES = 10_000  # per set, as in ADM's reference batches; all pairwise distances are kept in memory


class _Distances(NamedTuple):
    """Distances float32: among the samples [N, N], among the reference [M, M], and between the two [N, M]."""

    samples: Tensor
    reference: Tensor
    between: Tensor


def precision_recall(samples: Tensor, reference: Tensor, k: int = NEIGHBORS) -> tuple[float, float]:
    """Return the share of samples [N, D] inside a ball of the reference [M, D], and vice versa. Eq. 1 to 3.

    The ball of a point reaches to its k-th nearest neighbor in its own set, the point itself not counted; N and M are
    at least k + 1.
    """
    return _shares(_distances(samples, reference), torch.arange(len(samples)), torch.arange(len(reference)), k)


def precision_recall_estimates(samples: Tensor, reference: Tensor, seed: int = 0) -> tuple[Estimate, Estimate]:
    """Return precision and recall with bootstrap standard errors, on a random subset of at most MAX_IMAGES per set.

    An image drawn twice counts twice as a point but has one ball and is not its own neighbor, because the ball would
    otherwise have radius 0. Every draw must hold more than 3 different images: 20 images per set are enough.
    """
    generator = generator_for(seed)
    samples, reference = (
        rows[torch.randperm(len(rows), generator=generator)[:MAX_IMAGES]] for rows in (samples, reference)
    )
    distances = _distances(samples, reference)

    def draw_rows(count: int) -> Tensor:
        return torch.randint(count, (count,), generator=generator)

    resampled = [
        _shares(distances, draw_rows(len(samples)), draw_rows(len(reference)), NEIGHBORS) for _ in range(RESAMPLES)
    ]
    values = _shares(distances, torch.arange(len(samples)), torch.arange(len(reference)), NEIGHBORS)
    errors = torch.tensor(resampled).std(dim=0).tolist()
    return Estimate(values[0], errors[0]), Estimate(values[1], errors[1])


def _distances(samples: Tensor, reference: Tensor) -> _Distances:
    """Return all pairwise distances, without matrix products, whose rounding separates equal points."""

    def between(a: Tensor, b: Tensor) -> Tensor:
        return torch.cdist(a.float(), b.float(), compute_mode="donot_use_mm_for_euclid_dist")

    return _Distances(between(samples, samples), between(reference, reference), between(samples, reference))


def _shares(distances: _Distances, samples: Tensor, reference: Tensor, k: int) -> tuple[float, float]:
    """Return precision and recall of the images with these indices, int64 [n] and [m]."""
    balls, reference_balls = samples.unique(), reference.unique()
    radii, reference_radii = _radii(distances.samples, balls, k), _radii(distances.reference, reference_balls, k)
    inside_reference = (distances.between[:, reference_balls] <= reference_radii).any(dim=1)
    inside_samples = (distances.between[balls] <= radii[:, None]).any(dim=0)
    return float(inside_reference[samples].double().mean()), float(inside_samples[reference].double().mean())


def _radii(distances: Tensor, rows: Tensor, k: int) -> Tensor:
    return distances[rows][:, rows].kthvalue(k + 1, dim=1).values
