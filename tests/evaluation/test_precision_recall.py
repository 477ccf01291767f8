"""Improved precision and recall on sets with a known overlap."""

import pytest
import torch

from diffusion_demo.evaluation import precision_recall as module
from diffusion_demo.evaluation.precision_recall import precision_recall, precision_recall_estimates


def gaussian(count, seed, mean=0.0, size=4):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed)) + mean


def test_a_set_covers_itself_and_nothing_distant():
    a = gaussian(100, 0)
    assert precision_recall(a, a) == (1, 1)
    assert precision_recall(a, a + 1000) == (0, 0)


def test_one_of_two_modes_has_full_precision_and_half_recall():
    """Samples of one of two distant modes have precision 1 and recall 0.5; swapping the sets swaps the two."""
    both = torch.cat([gaussian(300, 0), gaussian(300, 1, mean=100)])
    precision, recall = precision_recall(gaussian(300, 2), both)
    assert 0.9 < precision <= 1 and 0.45 < recall <= 0.5
    precision, recall = precision_recall(both, gaussian(300, 2))
    assert 0.45 < precision <= 0.5 and 0.9 < recall <= 1


def test_balls_reach_to_the_third_neighbor():
    """The balls of the points 0, 1, 2, 3, 4 have radii 3, 2, 2, 2, 3, so they reach from -3 to 7."""
    line = torch.arange(5.0)[:, None]
    samples = torch.tensor([[7.0], [7.01], [-3.0], [-3.01]])
    assert precision_recall(samples, line)[0] == 0.5
    assert precision_recall(torch.tensor([[6.0], [6.01], [7.0], [7.01]]), line, k=2)[0] == 0.25


def test_copies_have_balls_of_radius_0_that_contain_them():
    copies = torch.full((10, 3), 1e3 / 3)
    assert precision_recall(copies, copies) == (1, 1)
    assert precision_recall(copies + 1e-3, copies) == (0, 0)


def test_distances_are_not_in_half_precision():
    far = gaussian(200, 0) / 100 + 500  # all points are equal in float16
    assert precision_recall(far, far + 0.2) == (0, 0)


def test_the_standard_errors_match_repeated_experiments():
    values = torch.tensor(
        [precision_recall(gaussian(128, 2 * i, mean=0.5), gaussian(256, 2 * i + 1)) for i in range(60)]
    )
    estimates = precision_recall_estimates(gaussian(128, 1000, mean=0.5), gaussian(256, 1001))
    for estimate, error in zip(estimates, values.std(dim=0).tolist(), strict=True):
        assert estimate.standard_error == pytest.approx(error, rel=0.5)
    assert estimates == precision_recall_estimates(gaussian(128, 1000, mean=0.5), gaussian(256, 1001))


def test_estimates_use_all_images_up_to_the_maximum(monkeypatch):
    a, b = gaussian(60, 0), gaussian(90, 1, mean=1.0)
    assert tuple(estimate.value for estimate in precision_recall_estimates(a, b)) == pytest.approx(
        precision_recall(a, b)
    )
    monkeypatch.setattr(module, "MAX_IMAGES", 40)
    few = precision_recall_estimates(a, b)[0].value * 40
    assert few == pytest.approx(round(few))
