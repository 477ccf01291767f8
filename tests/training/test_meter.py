"""Means of the training measures between two reports."""

import pytest
import torch

from diffusion_demo.training.meter import Meter, StepMeasures

NAN = float("nan")


def measures(losses: list[float], errors: list[float], bounds: list[float], t: list[int], grad_norm: float):
    return StepMeasures(torch.tensor([losses, errors, bounds]).T, torch.tensor(t), torch.tensor(float(grad_norm)))


def test_a_report_has_the_means_of_the_steps_since_the_last_one():
    meter = Meter(num_timesteps=100, batch_size=2)
    meter.add(measures([1, 3], [0.1, 0.3], [5, 7], [0, 24], 2))
    meter.add(measures([5, 7], [0.5, 0.7], [9, 11], [25, 99], 4))
    assert meter.count == 2
    first = meter.report(2, 1e-3, 4)
    assert (first.step, first.loss, first.error, first.vlb, first.grad_norm) == pytest.approx((2, 4, 0.4, 8, 3))
    assert first.bands == (pytest.approx(0.2), pytest.approx(0.5), None, pytest.approx(0.7))
    assert (first.learning_rate, first.images_seen) == (1e-3, 4) and meter.count == 0
    meter.add(measures([10, 20], [0.2, 0.4], [NAN, NAN], [60, 70], 8))
    second = meter.report(3, 1e-3, 6)
    assert (second.loss, second.error, second.grad_norm) == pytest.approx((15, 0.3, 8)) and second.vlb is None
    assert second.bands == (None, None, pytest.approx(0.3), None)
    assert second.elapsed >= first.elapsed > 0 and second.images_per_second > 0
