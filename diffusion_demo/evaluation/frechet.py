"""Frechet distance between two sets of features, with its standard error."""

import torch
from torch import Tensor

from diffusion_demo.evaluation.bootstrap import RESAMPLES, Estimate, bootstrap

MANY_FEATURES = 256  # with more features a distance takes seconds, so a tenth of the resamples is used


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Return |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)). Heusel et al. 2017, Eq. 6.

    a [N, D] and b [M, D] are features, N and M at least 2. Computed in float64; the trace of the root is that of the
    symmetric C_a^(1/2) C_b C_a^(1/2), which has the same eigenvalues as C_a C_b.
    """
    a, b = a.double(), b.double()
    cov_a, cov_b = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(b.shape[1], -1)
    values, vectors = torch.linalg.eigh(cov_a)
    root_a = vectors * values.clamp(min=0).sqrt() @ vectors.T
    root_trace = torch.linalg.eigvalsh(root_a @ cov_b @ root_a).clamp(min=0).sqrt().sum()
    difference = a.mean(0) - b.mean(0)
    return float(difference @ difference + cov_a.trace() + cov_b.trace() - 2 * root_trace)


def frechet_estimate(samples: Tensor, reference: Tensor, seed: int = 0) -> Estimate:
    """Return the distance of samples [N, D] from reference [M, D], with the bootstrap standard error over both sets."""
    resamples = RESAMPLES if samples.shape[1] <= MANY_FEATURES else RESAMPLES // 10
    return bootstrap(frechet_distance, samples, reference, seed=seed, resamples=resamples)
