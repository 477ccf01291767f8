"""The Inception Score, against the cases whose score is known and against its definition."""

import pytest
import torch

from diffusion_demo.evaluation.inception_score import inception_score, score_estimate, split_scores


def some(count=200, classes=5, seed=0):
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(seed)).mul(2).softmax(dim=1)


def test_sure_answers_spread_over_all_classes_score_the_number_of_classes():
    for classes in (2, 9, 1000):
        assert inception_score(torch.eye(classes).repeat(3, 1)) == pytest.approx(classes)


def test_the_same_answer_for_every_image_scores_1_be_it_sure_or_not():
    assert inception_score(torch.eye(9)[:1].repeat(20, 1)) == pytest.approx(1)
    assert inception_score(torch.full((20, 9), 1 / 9)) == pytest.approx(1)


def test_it_is_the_mean_divergence_from_the_mean():
    p = some().double()
    divergence = torch.nn.functional.kl_div(p.mean(0).log().expand_as(p), p, reduction="batchmean")
    assert inception_score(p) == pytest.approx(float(divergence.exp())) and 1 < inception_score(p) < 5


def test_splits_score_as_each_of_them_alone_whatever_the_order_of_classes():
    p = torch.eye(4).repeat_interleave(100, dim=0)
    found = split_scores(p)
    assert found.count == 10 and found.mean == pytest.approx(4) and found.deviation == pytest.approx(0, abs=1e-6)
    alone = torch.tensor([inception_score(some()[start::10]) for start in range(10)])
    assert split_scores(some()) == pytest.approx((10, float(alone.mean()), float(alone.std(correction=0))))
    assert split_scores(some(3)).count == 3


def test_the_standard_error_is_that_of_repeated_experiments():
    fresh = torch.tensor([inception_score(some(300, seed=seed)) for seed in range(60)])
    one = score_estimate(some(300, seed=1000))
    assert one.standard_error == pytest.approx(float(fresh.std()), rel=0.5)
    assert one == score_estimate(some(300, seed=1000)) and one.value == inception_score(some(300, seed=1000))
