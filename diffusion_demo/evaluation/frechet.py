"""Frechet distance between two sets of features, with its standard error."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion_demo.evaluation.bootstrap import RESAMPLES, Estimate, bootstrap

MANY_FEATURES = 256  # with more features a distance takes seconds, so a tenth of the resamples is used


class FeatureStatistics(NamedTuple):
    """Mean, float64 [D], and covariance, float64 [D, D], of features."""

    mean: Tensor
    covariance: Tensor


def feature_statistics(features: Tensor) -> FeatureStatistics:
    """Return the statistics of features [N, D], N at least 2."""
    features = features.double()
    return FeatureStatistics(features.mean(0), torch.cov(features.T).reshape(features.shape[1], -1))


def frechet_distance(a: Tensor | FeatureStatistics, b: Tensor | FeatureStatistics) -> float:
    """Return |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)). Heusel et al. 2017, Eq. 6.

    a and b are features [N, D] and [M, D], N and M at least 2, or their statistics. Computed in float64; the trace of
    the root is that of the symmetric C_a^(1/2) C_b C_a^(1/2), which has the same eigenvalues as C_a C_b.
    """
    (mean_a, cov_a), (mean_b, cov_b) = (
        feature_statistics(each) if isinstance(each, Tensor) else each for each in (a, b)
    )
    values, vectors = torch.linalg.eigh(cov_a)
    root_a = vectors * values.clamp(min=0).sqrt() @ vectors.T
    root_trace = torch.linalg.eigvalsh(root_a @ cov_b @ root_a).clamp(min=0).sqrt().sum()
    difference = mean_a - mean_b
    return float(difference @ difference + cov_a.trace() + cov_b.trace() - 2 * root_trace)


def frechet_estimate(samples: Tensor, reference: Tensor | FeatureStatistics, seed: int = 0) -> Estimate:
    """Return the distance of samples [N, D] from reference, features [M, D] or their statistics.

    The bootstrap standard error is that over both sets, or over the samples alone if the reference is statistics.
    """
    resamples = RESAMPLES if samples.shape[1] <= MANY_FEATURES else RESAMPLES // 10
    if isinstance(reference, Tensor):
        return bootstrap(frechet_distance, samples, reference, seed=seed, resamples=resamples)
    return bootstrap(partial(frechet_distance, b=reference), samples, seed=seed, resamples=resamples)
