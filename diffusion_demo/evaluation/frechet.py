"""The Frechet distance between two sets of features, with its uncertainty."""

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


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of features a [N, D] and b [M, D], N and M at least 2. Heusel et al. 2017, Eq. 6.

    Computed in float64; the trace of the root is had from the symmetric C_a^(1/2) C_b C_a^(1/2), which has the same eigenvalues.
    """
    a, b = a.double(), b.double()
    cov_a, cov_b = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(b.shape[1], -1)
    values, vectors = torch.linalg.eigh(cov_a)
    root_a = vectors * values.clamp(min=0).sqrt() @ vectors.T
    root_trace = torch.linalg.eigvalsh(root_a @ cov_b @ root_a).clamp(min=0).sqrt().sum()
    difference = a.mean(0) - b.mean(0)
    return float(difference @ difference + cov_a.trace() + cov_b.trace() - 2 * root_trace)


def frechet_estimate(samples: Tensor, reference: Tensor, seed: int = 0) -> Estimate:
    """The distance of samples [N, D] from reference [M, D], with the bootstrap's standard error over both. Efron 1979.

    The error is the spread of the resampled distances; their mean is not used, since drawing with replacement pushes it upward.
    """
    generator = torch.Generator().manual_seed(seed)

    def again(features: Tensor) -> Tensor:
        return features[torch.randint(len(features), (len(features),), generator=generator)]

    resampled = torch.tensor([frechet_distance(again(samples), again(reference)) for _ in range(RESAMPLES)])
    return Estimate(frechet_distance(samples, reference), float(resampled.std()))
