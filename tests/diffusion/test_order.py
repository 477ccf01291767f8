"""How fast a sampler converges: for Gaussian data the deterministic flow is known in closed form."""

import math

import torch

from diffusion_demo.diffusion.oracles import gaussian
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.samplers import SAMPLERS
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.diffusion.timesteps import spaced_timesteps

VARIANCE = 0.3


def error_at_the_lowest_noise_level(name, schedule, steps):
    diffusion = Diffusion(named_betas(schedule, 4000))
    oracle = gaussian(torch.zeros(1, 1, 1), torch.full((1, 1), math.sqrt(VARIANCE), dtype=torch.float64), diffusion.abar)
    chain, xT = diffusion.respaced(spaced_timesteps(4000, steps)), torch.ones(1, 1, 1, 1, dtype=torch.float64)
    *_, before_last, _ = SAMPLERS[name](oracle, chain, xT, lambda: torch.zeros_like(xT), clip=False)
    assert before_last.t_reached == 0
    spread = VARIANCE * diffusion.abar + 1 - diffusion.abar
    return abs(float(before_last.xt) - math.sqrt(float(spread[0] / spread[-1])))


def test_ddim_is_of_first_order():
    errors = [error_at_the_lowest_noise_level("ddim", "linear", steps) for steps in (40, 80, 160, 320)]
    orders = [math.log2(errors[i] / errors[i + 1]) for i in range(3)]
    assert all(0.9 < order < 1.1 for order in orders), orders
