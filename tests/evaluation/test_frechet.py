"""Frechet distance: compared with scipy's matrix root and with known distances of Gaussians."""

import numpy as np
import pytest
import torch
from scipy import linalg

from diffusion_demo.evaluation.frechet import frechet_distance, frechet_estimate


def gaussian(count, seed, mean=0.0, spread=1.0, size=5):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, generator=torch.Generator().manual_seed(99))
    return torch.randn(count, size, generator=generator) @ root * spread + mean


def test_the_distance_matches_scipys_matrix_root():
    a, b = gaussian(200, 0), gaussian(300, 1, mean=0.4, spread=1.3)
    cov_a, cov_b = np.cov(a.double().numpy().T), np.cov(b.double().numpy().T)
    difference = a.double().numpy().mean(0) - b.double().numpy().mean(0)
    expected = difference @ difference + np.trace(cov_a + cov_b - 2 * np.real(linalg.sqrtm(cov_a @ cov_b)))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_the_distance_is_symmetric_and_zero_for_equal_sets():
    a, b = gaussian(100, 0), gaussian(50, 1, mean=1.0)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_more_features_than_samples_are_supported():
    a, b = (
        torch.randn(8, 20, generator=torch.Generator().manual_seed(0)),
        torch.randn(9, 20, generator=torch.Generator().manual_seed(1)),
    )
    assert 0 < frechet_distance(a, b) < 1000


def test_the_standard_error_matches_repeated_experiments():
    """Compare the bootstrap error of one pair of sets with the deviation over sixty independent pairs."""
    distances = torch.tensor(
        [frechet_distance(gaussian(256, 2 * i, mean=0.3), gaussian(512, 2 * i + 1)) for i in range(60)]
    )
    estimate = frechet_estimate(gaussian(256, 1000, mean=0.3), gaussian(512, 1001))
    assert estimate.standard_error == pytest.approx(float(distances.std()), rel=0.5)
    low, high = estimate.interval
    assert low < estimate.value < high and high - low == pytest.approx(2 * 1.96 * estimate.standard_error)


def test_the_estimate_is_reproducible():
    a, b = gaussian(64, 0), gaussian(64, 1)
    assert frechet_estimate(a, b) == frechet_estimate(a, b) != frechet_estimate(a, b, seed=1)
