"""Flow matching as a schedule: its table, its velocity, and the Euler method against DDIM and DPM-Solver++."""

import math
from itertools import pairwise

import pytest
import torch

from diffusion_demo.diffusion.flow import euler, euler_step, flow_time, path_scale, velocity_from_v
from diffusion_demo.diffusion.oracles import gaussian
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.samplers import ddim, dpm_solver
from diffusion_demo.diffusion.schedules import SCHEDULES, flow_betas, named_betas, terminal_warning
from diffusion_demo.diffusion.timesteps import spaced_timesteps

SHAPE = (2, 1, 3, 3)
VARIANCE = 0.3


def draw(seed, shape=SHAPE):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def no_noise():
    raise AssertionError("the Euler method is deterministic")


def v_network(diffusion):
    """The optimal denoiser of Gaussian data of variance VARIANCE, as a network that predicts v."""
    abar = diffusion.abar

    def model(xt, t):
        a = abar[t].reshape(-1, 1, 1, 1)
        x0 = a.sqrt() * VARIANCE / (a * VARIANCE + 1 - a) * xt
        eps = (xt - a.sqrt() * x0) / (1 - a).sqrt()
        return a.sqrt() * eps - (1 - a).sqrt() * x0

    return model


@pytest.mark.parametrize("num_timesteps", [2, 10, 1000, 4000])
def test_the_schedule_is_the_straight_path_of_unit_variance(num_timesteps):
    assert torch.equal(flow_betas(num_timesteps), named_betas("flow", num_timesteps))
    diffusion = Diffusion(named_betas("flow", num_timesteps), "v_prediction")
    s = torch.arange(1, num_timesteps + 1, dtype=torch.float64) / num_timesteps
    expected = (1 - s) ** 2 / ((1 - s) ** 2 + s**2)
    torch.testing.assert_close(diffusion.abar, expected, rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(flow_time(diffusion.abar), s, rtol=1e-9, atol=1e-9)
    assert diffusion.abar[-1] == 0 and terminal_warning(diffusion.abar) is None


def test_only_epsilon_prediction_is_refused_because_the_path_ends_in_pure_noise():
    with pytest.raises(ValueError, match="predict x_0 or v instead"):
        Diffusion(named_betas("flow", 1000), "epsilon")
    for prediction_type in ("sample", "v_prediction"):
        assert Diffusion(named_betas("flow", 1000), prediction_type).prediction_type == prediction_type


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("t", [0, 400, 999])
def test_every_schedule_is_a_straight_path_in_its_own_time(name, t):
    diffusion = Diffusion(named_betas(name, 1000), "v_prediction")
    x0, eps = draw(1), draw(2)
    xt, s, c = diffusion.q_sample(x0, t, eps), flow_time(diffusion.abar)[t], path_scale(diffusion.abar)[t]
    u = velocity_from_v(diffusion, xt, t, diffusion.v_from_x0_eps(x0, t, eps))
    torch.testing.assert_close(c * xt, (1 - s) * x0 + s * eps)
    torch.testing.assert_close(u, eps - x0)
    torch.testing.assert_close(c * xt - s * u, x0)
    torch.testing.assert_close(c * xt + (1 - s) * u, eps)


@pytest.mark.parametrize("name", ["flow", "squaredcos_cap_v2"])
def test_the_euler_method_in_s_takes_the_steps_of_ddim(name):
    diffusion = Diffusion(named_betas(name, 1000), "v_prediction")
    chain, model, xT = diffusion.respaced(spaced_timesteps(1000, 12)), v_network(diffusion), draw(3)
    for clip in (True, False):
        deterministic = ddim(model, chain, xT, lambda: torch.zeros_like(xT), clip=clip)
        for ours, theirs in zip(euler(model, chain, xT, no_noise, clip=clip), deterministic, strict=True):
            torch.testing.assert_close(ours.xt, theirs.xt, rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(ours.x0, theirs.x0)
            assert (ours.t, ours.t_reached, ours.index) == (theirs.t, theirs.t_reached, theirs.index)


def test_euler_and_the_second_order_solver_agree_in_the_limit_which_is_the_flow_itself():
    """From x_T = z_1 the flow of Gaussian data scales by the ratio of standard deviations along the path."""
    diffusion, xT = Diffusion(named_betas("flow", 100_000), "v_prediction"), torch.ones(1, 1, 1, 1).double()
    exact, errors, gaps = math.sqrt(VARIANCE), [], []
    for steps in (20, 40, 80, 160):
        chain = diffusion.respaced(spaced_timesteps(100_000, steps))
        ends = [
            float(list(sample(v_network(diffusion), chain, xT, lambda: xT, clip=False))[-1].xt)
            for sample in (euler, dpm_solver)
        ]
        errors.append(abs(ends[0] - exact))
        gaps.append(abs(ends[0] - ends[1]))
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert all(0.9 < order < 1.1 for order in orders), orders
    assert all(b < 0.6 * a for a, b in pairwise(gaps)) and gaps[-1] < 1e-2, gaps


def test_the_network_of_the_euler_method_may_predict_anything_and_be_guided():
    abar = Diffusion(named_betas("linear", 1000)).abar
    diffusion = Diffusion(named_betas("linear", 1000))
    root = torch.eye(9, dtype=torch.float64) * math.sqrt(VARIANCE)
    model, xT = gaussian(torch.zeros(SHAPE[1:]), root, abar), draw(3)
    chain = diffusion.respaced(spaced_timesteps(1000, 6))
    for options in ({}, {"gradient": lambda xt, t: -0.1 * xt}, {"denoised_fn": lambda x0: x0 / 2}):
        *_, ours = euler(model, chain, xT, no_noise, **options)
        *_, theirs = ddim(model, chain, xT, lambda: xT, **options)
        torch.testing.assert_close(ours.xt, theirs.xt, rtol=1e-6, atol=1e-6)
    with pytest.raises(IndexError):
        euler_step(model, chain, xT, 6, no_noise)
