"""Improved precision and recall, on sets whose overlap is known."""

import pytest
import torch

from diffusion_demo.evaluation import precision_recall as module
from diffusion_demo.evaluation.precision_recall import precision_recall, precision_recall_estimates


def gaussian(count, seed, mean=0.0, size=4):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed)) + mean


def test_a_set_covers_itself_and_nothing_far_away():
    a = gaussian(100, 0)
    assert precision_recall(a, a) == (1, 1)
    assert precision_recall(a, a + 1000) == (0, 0)


def test_half_of_a_mixture_is_precise_and_recalls_a_half():
    """Samples from one of two far modes lie all within the data, and half of the data among them; and the other way round."""
    both = torch.cat([gaussian(300, 0), gaussian(300, 1, mean=100)])
    precision, recall = precision_recall(gaussian(300, 2), both)
    assert 0.9 < precision <= 1 and 0.45 < recall <= 0.5
    precision, recall = precision_recall(both, gaussian(300, 2))
    assert 0.45 < precision <= 0.5 and 0.9 < recall <= 1


def test_the_balls_reach_to_the_third_neighbour_of_another():
    """Points on a line at 0, 1, 2, 3, 4: the balls of 0 and 4 reach 3 far, those of 1 and 3 two, that of 2 two: up to 7 and no farther."""
    line = torch.arange(5.0)[:, None]
    samples = torch.tensor([[7.0], [7.01], [-3.0], [-3.01]])
    assert precision_recall(samples, line)[0] == 0.5
    assert precision_recall(torch.tensor([[6.0], [6.01], [7.0], [7.01]]), line, k=2)[0] == 0.25


def test_copies_in_a_set_have_balls_of_no_size_and_still_hold_themselves():
    heap = torch.full((10, 3), 1e3 / 3)
    assert precision_recall(heap, heap) == (1, 1)
    assert precision_recall(heap + 1e-3, heap) == (0, 0)


def test_distances_are_not_rounded_as_the_papers_half_precision_is():
    far = gaussian(200, 0) / 100 + 500  # in float16 all of these are one point
    assert precision_recall(far, far + 0.2) == (0, 0)


def test_the_standard_errors_are_those_of_repeated_experiments():
    fresh = torch.tensor(
        [precision_recall(gaussian(128, 2 * i, mean=0.5), gaussian(256, 2 * i + 1)) for i in range(60)]
    )
    found = precision_recall_estimates(gaussian(128, 1000, mean=0.5), gaussian(256, 1001))
    for estimate, error in zip(found, fresh.std(dim=0).tolist(), strict=True):
        assert estimate.standard_error == pytest.approx(error, rel=0.5)
    assert found == precision_recall_estimates(gaussian(128, 1000, mean=0.5), gaussian(256, 1001))


def test_estimates_are_of_the_whole_sets_and_of_a_draw_of_larger_ones(monkeypatch):
    a, b = gaussian(60, 0), gaussian(90, 1, mean=1.0)
    assert tuple(estimate.value for estimate in precision_recall_estimates(a, b)) == pytest.approx(
        precision_recall(a, b)
    )
    monkeypatch.setattr(module, "MOST", 40)
    few = precision_recall_estimates(a, b)[0].value * 40
    assert few == pytest.approx(round(few))
