"""Noise schedules, compared with closed forms in NumPy and with diffusers."""

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
    jsd_betas,
    linear_betas,
    log_signal_to_noise,
    named_betas,
    signal_to_noise,
    terminal_warning,
    zero_terminal_snr,
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
    # log abar = -sum of beta - O(beta^2): the second-order term remains
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
        named_betas("squaredcos_cap_v2", 0)


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


@pytest.mark.parametrize(("name", "diffusers_name"), [("scaled_linear", "scaled_linear"), ("sigmoid", "sigmoid")])
def test_schedules_that_diffusers_names_equal_its_own(name, diffusers_name):
    theirs = DDPMScheduler(num_train_timesteps=1000, beta_schedule=diffusers_name).betas
    np.testing.assert_allclose(named_betas(name, 1000).numpy(), theirs.numpy(), rtol=2e-5)


def test_jsd_removes_the_same_share_of_signal_in_every_step():
    abar = alphas_cumprod(jsd_betas(10))
    np.testing.assert_allclose(abar.numpy(), np.linspace(0.9, 0.0, 10), atol=1e-15)


def test_warmup_rises_straight_over_its_share_and_then_stays():
    betas = named_betas("warmup10", 1000).numpy()
    np.testing.assert_allclose(betas[:100], np.linspace(1e-4, 0.02, 100), rtol=1e-12)
    assert (betas[100:] == 0.02).all() and (named_betas("const", 7) == 0.02).all()


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_log_snr_is_the_log_of_snr_and_only_falls(name):
    abar = alphas_cumprod(named_betas(name, 1000))[:-1]
    np.testing.assert_allclose(log_signal_to_noise(abar).exp().numpy(), signal_to_noise(abar).numpy(), rtol=1e-9)
    assert (np.diff(log_signal_to_noise(abar).numpy()) < 0).all()


def test_a_schedule_that_does_not_end_in_noise_is_warned_of():
    short = alphas_cumprod(torch.linspace(1e-4, 0.02, 100, dtype=torch.float64))
    assert "0.364" in (terminal_warning(short) or "") and "cosine" in (terminal_warning(short) or "")
    assert all(terminal_warning(alphas_cumprod(named_betas(name, 1000))) is None for name in SCHEDULES)


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_zero_terminal_snr_is_that_of_diffusers_and_ends_in_pure_noise(name):
    betas = named_betas(name, 1000)
    found = zero_terminal_snr(betas)
    expected = DDPMScheduler(trained_betas=betas.tolist(), rescale_betas_zero_snr=True).betas
    assert alphas_cumprod(found)[-1] == 0 and alphas_cumprod(betas)[-1] > 0
    torch.testing.assert_close(alphas_cumprod(found), alphas_cumprod(expected.double()), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(found[0], betas[0])
