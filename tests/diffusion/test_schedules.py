"""Noise schedules and spacing, against closed forms in numpy and against diffusers."""

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from diffusion_demo.diffusion.schedules import (
    SCHEDULES,
    alphas_cumprod,
    betas_from_alphas_cumprod,
    cosine_betas,
    linear_betas,
    named_betas,
    signal_to_noise,
    spaced_timesteps,
)


@pytest.mark.parametrize("num_timesteps", [21, 100, 1000, 4000])
def test_linear_schedule_is_straight_and_both_ends_scale_with_T(num_timesteps):
    betas = linear_betas(num_timesteps)
    scale = 1000 / num_timesteps
    assert betas.dtype == torch.float64 and betas.shape == (num_timesteps,)
    np.testing.assert_allclose(betas.numpy(), np.linspace(1e-4 * scale, 0.02 * scale, num_timesteps), rtol=1e-12)


def test_linear_schedule_adds_the_same_total_noise_for_1000_and_4000_timesteps():
    few, many = linear_betas(1000), linear_betas(4000)
    assert few.sum().item() == pytest.approx(many.sum().item(), rel=1e-12)
    # log abar = -sum of beta - O(beta^2): the second-order part is what is left
    assert alphas_cumprod(few)[-1].log().item() == pytest.approx(alphas_cumprod(many)[-1].log().item(), rel=6e-3)


def test_linear_schedule_of_21_timesteps_stays_below_1():
    assert linear_betas(21).max() < 1


@pytest.mark.parametrize("num_timesteps", [-1, 0, 1, 19, 20])
def test_linear_schedule_refuses_so_few_timesteps_that_beta_would_reach_1(num_timesteps):
    with pytest.raises(ValueError, match=f"not {num_timesteps}"):
        linear_betas(num_timesteps)


@pytest.mark.parametrize("num_timesteps", [10, 100, 1000, 4000])
def test_cosine_schedule_equals_equation_17(num_timesteps):
    t = np.arange(num_timesteps + 1, dtype=np.float64)
    f = np.cos((t / num_timesteps + 0.008) / (1 + 0.008) * np.pi / 2) ** 2
    abar = f / f[0]
    expected = np.minimum(1 - abar[1:] / abar[:-1], 0.999)
    np.testing.assert_allclose(cosine_betas(num_timesteps).numpy(), expected, rtol=1e-9)
    assert (cosine_betas(num_timesteps) == 0.999).sum() == 1


def test_cosine_schedule_refuses_no_timesteps():
    with pytest.raises(ValueError, match="not 0"):
        cosine_betas(0)


@pytest.mark.parametrize("num_timesteps", [1000, 4000])
def test_cosine_schedule_equals_diffusers(num_timesteps):
    theirs = DDPMScheduler(num_timesteps, beta_schedule="squaredcos_cap_v2").betas
    np.testing.assert_allclose(cosine_betas(num_timesteps).float().numpy(), theirs.numpy(), rtol=1e-6)


def test_linear_schedule_of_1000_equals_diffusers():
    theirs = DDPMScheduler(1000, beta_schedule="linear", beta_start=1e-4, beta_end=0.02).betas
    np.testing.assert_allclose(linear_betas(1000).float().numpy(), theirs.numpy(), rtol=1e-6)


def test_schedules_are_found_by_their_diffusers_names():
    assert torch.equal(named_betas("linear", 100), linear_betas(100))
    assert torch.equal(named_betas("squaredcos_cap_v2", 100), cosine_betas(100))


def test_an_unknown_schedule_is_refused_by_its_name():
    with pytest.raises(ValueError, match=r"'cubic'.*squaredcos_cap_v2"):
        named_betas("cubic", 100)


@given(st.lists(st.floats(1e-5, 0.999), min_size=1, max_size=50))
def test_betas_survive_the_way_through_abar(betas):
    betas = torch.tensor(betas, dtype=torch.float64)
    torch.testing.assert_close(betas_from_alphas_cumprod(alphas_cumprod(betas)), betas, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", SCHEDULES)
def test_signal_to_noise_falls_and_belongs_to_abar(name):
    abar = alphas_cumprod(named_betas(name, 1000))
    snr = signal_to_noise(abar)
    assert bool((snr[1:] < snr[:-1]).all())
    torch.testing.assert_close(snr / (1 + snr), abar, rtol=1e-12, atol=0)


@given(st.data())
def test_spaced_timesteps_have_both_ends_the_right_count_and_only_rise(data):
    num_timesteps = data.draw(st.integers(2, 4000))
    count = data.draw(st.integers(2, num_timesteps))
    steps = spaced_timesteps(num_timesteps, count)
    assert len(steps) == count and steps[0] == 0 and steps[-1] == num_timesteps - 1
    gaps = np.diff(steps)
    assert gaps.min() >= 1 and gaps.max() - gaps.min() <= 2


@pytest.mark.parametrize("count", [25, 50, 250])
def test_spaced_timesteps_equal_diffusers_linspace(count):
    scheduler = DDPMScheduler(1000, timestep_spacing="linspace")
    scheduler.set_timesteps(count)
    assert spaced_timesteps(1000, count) == scheduler.timesteps.flip(0).tolist()


def test_one_step_alone_is_the_noisiest():
    assert spaced_timesteps(1000, 1) == [999]
    assert spaced_timesteps(1, 1) == [0]


def test_all_steps_are_every_step():
    assert spaced_timesteps(1000, 1000) == list(range(1000))


@pytest.mark.parametrize("count", [-1, 0, 1001])
def test_no_steps_and_more_steps_than_T_are_refused(count):
    with pytest.raises(ValueError, match=f"from 1 to 1000.*not {count}"):
        spaced_timesteps(1000, count)
