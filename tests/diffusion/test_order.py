"""Order of convergence of the samplers, for Gaussian data, where the probability flow has a closed form."""

import math
from itertools import pairwise

import pytest
import torch

from diffusion_demo.diffusion.oracles import gaussian
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.samplers import SAMPLERS
from diffusion_demo.diffusion.schedules import log_signal_to_noise, named_betas
from diffusion_demo.diffusion.timesteps import spaced_timesteps

VARIANCE = 0.3
NUM_TIMESTEPS = 100_000  # fine enough that rounding the timesteps has no effect


def even_in_log_snr(abar, steps):
    """Return timesteps uniform in log SNR over the whole range."""
    log_snr = log_signal_to_noise(abar)
    wanted = torch.linspace(float(log_snr[0]), float(log_snr[-1]), steps, dtype=torch.float64)
    return [int((log_snr - value).abs().argmin()) for value in wanted]


def error_at_the_lowest_noise_level(name, schedule, steps):
    """Return the error after the penultimate step, which ends at t = 0, for scalar Gaussian data."""
    diffusion = Diffusion(named_betas(schedule, NUM_TIMESTEPS))
    oracle = gaussian(
        torch.zeros(1, 1, 1), torch.full((1, 1), math.sqrt(VARIANCE), dtype=torch.float64), diffusion.abar
    )
    kept = even_in_log_snr(diffusion.abar, steps) if name == "dpm_solver" else spaced_timesteps(NUM_TIMESTEPS, steps)
    chain, xT = diffusion.respaced(kept), torch.ones(1, 1, 1, 1, dtype=torch.float64)
    *_, before_last, _ = SAMPLERS[name](oracle, chain, xT, lambda: torch.zeros_like(xT), clip=False)
    assert before_last.t_reached == 0
    spread = VARIANCE * diffusion.abar + 1 - diffusion.abar
    return abs(float(before_last.xt) - math.sqrt(float(spread[0] / spread[-1])))


def orders(name, schedule, counts):
    """Return log2 of the error ratio for each doubling of the number of steps."""
    errors = [error_at_the_lowest_noise_level(name, schedule, steps) for steps in counts]
    return [math.log2(a / b) for a, b in pairwise(errors)]


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
def test_ddim_is_of_first_order(schedule):
    found = orders("ddim", schedule, (40, 80, 160, 320))
    assert all(0.9 < order < 1.1 for order in found), found


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
def test_the_dpm_solver_is_of_second_order(schedule):
    found = orders("dpm_solver", schedule, (40, 80, 160, 320))
    assert all(order > 1.8 for order in found), found
