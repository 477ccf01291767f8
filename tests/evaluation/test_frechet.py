"""The Frechet distance, against scipy's matrix root and against Gaussians whose distance is known."""

import numpy as np
import pytest
import torch
from scipy import linalg

from diffusion_demo.evaluation.frechet import frechet_distance, frechet_estimate


def gaussian(count, seed, mean=0.0, spread=1.0, size=5):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, generator=torch.Generator().manual_seed(99))
    return torch.randn(count, size, generator=generator) @ root * spread + mean


def test_it_is_the_formula_with_scipys_matrix_root():
    a, b = gaussian(200, 0), gaussian(300, 1, mean=0.4, spread=1.3)
    cov_a, cov_b = np.cov(a.double().numpy().T), np.cov(b.double().numpy().T)
    difference = a.double().numpy().mean(0) - b.double().numpy().mean(0)
    expected = difference @ difference + np.trace(cov_a + cov_b - 2 * linalg.sqrtm(cov_a @ cov_b).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_a_set_is_no_distance_from_itself_and_the_order_does_not_matter():
    a, b = gaussian(100, 0), gaussian(50, 1, mean=1.0)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_it_stands_more_features_than_samples():
    a, b = (
        torch.randn(8, 20, generator=torch.Generator().manual_seed(0)),
        torch.randn(9, 20, generator=torch.Generator().manual_seed(1)),
    )
    assert 0 < frechet_distance(a, b) < 1000


def test_the_standard_error_is_that_of_repeated_experiments():
    """The bootstrap's error from one pair of sets, against the spread of the distance over sixty fresh pairs."""
    fresh = torch.tensor(
        [frechet_distance(gaussian(256, 2 * i, mean=0.3), gaussian(512, 2 * i + 1)) for i in range(60)]
    )
    one = frechet_estimate(gaussian(256, 1000, mean=0.3), gaussian(512, 1001))
    assert one.standard_error == pytest.approx(float(fresh.std()), rel=0.5)
    low, high = one.interval
    assert low < one.value < high and high - low == pytest.approx(2 * 1.96 * one.standard_error)


def test_the_interval_is_the_same_every_time():
    a, b = gaussian(64, 0), gaussian(64, 1)
    assert frechet_estimate(a, b) == frechet_estimate(a, b) != frechet_estimate(a, b, seed=1)
