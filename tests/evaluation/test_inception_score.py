"""Inception Score: cases with a known score, and its definition."""

import pytest
import torch

from diffusion_demo.evaluation.inception_score import inception_score, score_estimate, split_scores


def probabilities(count=200, classes=5, seed=0):
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(seed)).mul(2).softmax(dim=1)


def test_certain_predictions_of_all_classes_score_the_number_of_classes():
    for classes in (2, 9, 1000):
        assert inception_score(torch.eye(classes).repeat(3, 1)) == pytest.approx(classes)


def test_equal_predictions_score_1():
    assert inception_score(torch.eye(9)[:1].repeat(20, 1)) == pytest.approx(1)
    assert inception_score(torch.full((20, 9), 1 / 9)) == pytest.approx(1)


def test_the_score_matches_its_definition():
    p = probabilities().double()
    divergence = torch.nn.functional.kl_div(p.mean(0).log().expand_as(p), p, reduction="batchmean")
    assert inception_score(p) == pytest.approx(float(divergence.exp())) and 1 < inception_score(p) < 5


def test_splits_do_not_depend_on_the_order_of_classes():
    p = torch.eye(4).repeat_interleave(100, dim=0)
    splits = split_scores(p)
    assert splits.count == 10 and splits.mean == pytest.approx(4) and splits.deviation == pytest.approx(0, abs=1e-6)
    scores = torch.tensor([inception_score(probabilities()[start::10]) for start in range(10)])
    assert split_scores(probabilities()) == pytest.approx((10, float(scores.mean()), float(scores.std(correction=0))))
    assert split_scores(probabilities(3)).count == 3


def test_the_standard_error_matches_repeated_experiments():
    scores = torch.tensor([inception_score(probabilities(300, seed=seed)) for seed in range(60)])
    estimate = score_estimate(probabilities(300, seed=1000))
    assert estimate.standard_error == pytest.approx(float(scores.std()), rel=0.5)
    assert estimate == score_estimate(probabilities(300, seed=1000)) and estimate.value == inception_score(
        probabilities(300, seed=1000)
    )
