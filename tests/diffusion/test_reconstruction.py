"""Reconstruction and interpolation, with optimal denoisers."""

import pytest
import torch

from diffusion_demo.diffusion.oracles import finite_set, gaussian
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.reconstruction import interpolate, reconstruct
from diffusion_demo.diffusion.schedules import named_betas

MEMBERS = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1.6 - 0.8


def noise(rows, seed=0, shape=(1, 4, 4)):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(rows, *shape, generator=generator, dtype=torch.float64)


def last(steps):
    *_, step = steps
    return step.xt


def member_of(images):
    return (images.flatten(1)[:, None] - MEMBERS.flatten(1)[None]).abs().amax(2).min(1).indices


def test_from_little_noise_the_same_image_returns_and_from_much_noise_any():
    diffusion = Diffusion(named_betas("linear", 200), variance_type="fixed_small")
    oracle, draw = finite_set(MEMBERS, diffusion.abar), noise(40)
    shared = MEMBERS[2].expand(40, -1, -1, -1)
    reached = []
    for t in (5, 199):
        xt = diffusion.q_sample(shared, t, draw()[:1].expand(40, -1, -1, -1))
        reached.append(member_of(last(reconstruct(oracle, diffusion, xt, t, draw))))
    assert bool((reached[0] == 2).all())
    assert len(reached[1].unique()) == 6


def test_reconstructions_of_gaussian_data_are_spread_like_the_posterior():
    """For Gaussian data, p(x_0 | x_t) is Gaussian with known mean and variance; 4,000 samples match both."""
    diffusion, variance, t = Diffusion(named_betas("linear", 1000), variance_type="fixed_small"), 0.3, 400
    oracle = gaussian(torch.zeros(1, 1, 1), torch.full((1, 1), variance**0.5, dtype=torch.float64), diffusion.abar)
    xt = torch.full((4000, 1, 1, 1), 0.7, dtype=torch.float64)
    found = last(reconstruct(oracle, diffusion, xt, t, noise(4000, shape=(1, 1, 1)), clip=False)).flatten()
    a = float(diffusion.abar[t])
    spread = variance * (1 - a) / (a * variance + 1 - a)
    assert abs(float(found.mean()) - a**0.5 * variance / (a * variance + 1 - a) * 0.7) < 4 * (spread / 4000) ** 0.5
    assert float(found.var()) == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize("t", [-1, 100])
def test_a_t_outside_the_chain_is_refused(t):
    diffusion = Diffusion(named_betas("linear", 100))
    with pytest.raises(IndexError, match=f"0 .. 99, not {t}"):
        next(reconstruct(lambda xt, t: xt, diffusion, MEMBERS[:1], t, noise(1)))


def test_an_interpolation_goes_from_one_image_to_the_other():
    diffusion = Diffusion(named_betas("linear", 200), variance_type="fixed_small")
    oracle, shares = finite_set(MEMBERS, diffusion.abar), torch.linspace(0, 1, 9)
    images = last(interpolate(oracle, diffusion, MEMBERS[0:1], MEMBERS[1:2], shares, 8, noise(9)))
    reached = member_of(images).tolist()
    assert reached[0] == 0 and reached[-1] == 1
    assert (images - MEMBERS[reached]).abs().max() < 0.05


def test_an_interpolation_mixes_linearly_with_independent_noise():
    diffusion, t, starts = Diffusion(named_betas("linear", 100)), 60, []

    def model(xt, t):
        starts.append(xt)
        return torch.zeros_like(xt)

    draw, again = noise(3), noise(3)
    next(interpolate(model, diffusion, MEMBERS[0:1], MEMBERS[1:2], torch.tensor([0.0, 0.25, 1.0]), t, draw))
    a, b = (diffusion.q_sample(MEMBERS[i : i + 1], t, again()[:1])[0] for i in range(2))
    for row, share in enumerate((0, 0.25, 1)):
        torch.testing.assert_close(starts[0][row], (1 - share) * a + share * b)
