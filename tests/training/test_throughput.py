"""The measured training speed, by a clock that the test sets."""

from itertools import accumulate
from types import SimpleNamespace

import pytest

from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.models.unet import build_unet
from diffusion_demo.training import throughput


@pytest.mark.parametrize("classes", [0, 3])
def test_the_speed_is_in_images_and_the_first_step_does_not_count(monkeypatch, classes):
    seconds = [100, 2, 1, 4]  # of the steps
    times = iter(accumulate(time for step in seconds for time in (0, step)))
    monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    unet = build_unet("tiny", 16, 1, learns_variance=False, num_classes=classes)
    chain = Diffusion(named_betas("linear", 100), "epsilon", "fixed_small")
    assert throughput.images_per_second(unet, chain, 6) == 6 / 2
