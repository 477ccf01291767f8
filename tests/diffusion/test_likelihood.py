"""The variational bound, for data with known entropy and optimal denoiser."""

# pyright: reportAttributeAccessIssue=false
# Reason: a frozen distribution is taken for a discrete one, as scipy has no stubs.

import math

import pytest
import torch
from scipy import integrate, stats

from diffusion_demo.diffusion.likelihood import bound_terms, prior_bits, rate_distortion
from diffusion_demo.diffusion.oracles import finite_set, gaussian, pixel_entropy, pixels
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.diffusion.timesteps import spaced_timesteps


def draws(seed, shape):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2", "warmup10"])
def test_the_prior_term_is_the_kl_of_two_gaussians(schedule):
    diffusion = Diffusion(named_betas(schedule, 100))
    x0 = torch.tensor([-1.0, 0.25], dtype=torch.float64).reshape(2, 1, 1, 1)
    abar = float(diffusion.abar[-1])
    for value, found in zip(x0.flatten().tolist(), prior_bits(diffusion, x0).tolist(), strict=True):
        q = stats.norm(math.sqrt(abar) * value, math.sqrt(1 - abar))
        expected, _ = integrate.quad(
            lambda x, q=q: q.pdf(x) * (q.logpdf(x) - stats.norm.logpdf(x)), -9, 9, epsabs=1e-12
        )
        assert found == pytest.approx(expected / math.log(2), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("kept", [None, 20])
def test_a_image_known_by_heart_costs_its_decoder_alone(kept):
    """For a single image every KL is 0, and L_0 is -log of the mass of N(x_0, beta~_1) inside the bin of x_0."""
    image = torch.randint(1, 255, (1, 1, 4, 4), generator=torch.Generator().manual_seed(0)).double() / 127.5 - 1
    diffusion = Diffusion(named_betas("squaredcos_cap_v2", 200), variance_type="fixed_small")
    chain = diffusion if kept is None else diffusion.respaced(spaced_timesteps(200, kept))
    *kls, decoder = bound_terms(finite_set(image, diffusion.abar), chain, image, draws(1, image.shape))
    assert [term.t for term in kls] == list(range(1, len(chain)))[::-1] and decoder.t == 0
    assert max(float(term.bits.abs()) for term in kls) < 1e-9
    assert max(float(term.x0_mse) for term in [*kls, decoder]) < 1e-10
    sigma = math.exp(0.5 * float(chain.posterior_log_variance[0]))
    inside = stats.norm.cdf(1 / 255 / sigma) - stats.norm.cdf(-1 / 255 / sigma)
    assert float(decoder.bits) == pytest.approx(-math.log2(inside), abs=2e-3)


def test_the_bound_stays_above_the_entropy_and_comes_nearer_with_more_steps():
    """Two equally likely images have an entropy of one bit over two dimensions."""
    images = torch.tensor([-1.0, 1.0], dtype=torch.float64).reshape(2, 1, 1, 1).expand(2, 1, 1, 2).repeat(128, 1, 1, 1)
    means = []
    for num_timesteps in (50, 200, 800):
        diffusion = Diffusion(named_betas("linear", num_timesteps), variance_type="fixed_small")
        terms = bound_terms(finite_set(images[:2], diffusion.abar), diffusion, images, draws(0, images.shape))
        totals = sum(term.bits for term in terms) + prior_bits(diffusion, images)
        means.append(float(totals.mean()))
        assert means[-1] - 3 * float(totals.std()) / math.sqrt(len(totals)) > 0.5
    assert means[0] > means[1] > means[2]


def test_with_the_exact_denoiser_of_gray_pixels_the_bound_nears_the_entropy_from_above():
    """The data are 64 samples of each of 16 independent pixels, which keeps the Monte Carlo noise small."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(256, 1, 4, 4, generator=generator, dtype=torch.float64) * torch.linspace(0.2, 5, 16).reshape(
        1, 1, 4, 4
    )
    probabilities = torch.softmax(scores, dim=0)
    drawn = torch.multinomial(probabilities.flatten(1).T, 64, replacement=True, generator=generator)
    images = drawn.T.reshape(64, 1, 4, 4).double() / 127.5 - 1
    # The code length under the true probabilities has the entropy as its mean, and is correlated with the bound.
    own = -probabilities.log2().expand(64, -1, -1, -1, -1).gather(1, drawn.T.reshape(64, 1, 1, 4, 4)).flatten(1).mean(1)
    gaps = []
    for num_timesteps in (50, 200, 1000):
        diffusion = Diffusion(named_betas("squaredcos_cap_v2", num_timesteps), variance_type="fixed_small")
        terms = bound_terms(
            pixels(probabilities, diffusion.abar), diffusion, images, draws(num_timesteps, images.shape)
        )
        totals = sum(term.bits for term in terms) + prior_bits(diffusion, images)
        gap = totals - own
        gaps.append(float(gap.mean()))
        assert gaps[-1] > 3 * float(gap.std()) / math.sqrt(len(gap)), "never below the entropy"
        assert float(totals.mean()) > pixel_entropy(probabilities) - 3 * float(own.std()) / 8
    assert gaps[0] > 1.2 * gaps[1] > 1.2 * 1.2 * gaps[2]


def test_rate_and_distortion_of_gaussian_data_are_the_known_ones():
    """Distortion is the posterior standard deviation of x_0 given x_t; rate is the sum of the terms above t."""
    diffusion = Diffusion(named_betas("linear", 100), variance_type="fixed_small")
    variance = 0.2
    x0 = math.sqrt(variance) * torch.randn(
        512, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    oracle = gaussian(torch.zeros(1, 4, 4), math.sqrt(variance) * torch.eye(16, dtype=torch.float64), diffusion.abar)
    terms = list(bound_terms(oracle, diffusion, x0, draws(1, x0.shape), clip=False))[::-1]
    bits, mse = (torch.stack([getattr(term, name) for term in terms], dim=1) for name in ("bits", "x0_mse"))
    prior = prior_bits(diffusion, x0)
    points = rate_distortion(prior, bits, mse)
    assert [t for t, _, _ in points] == list(range(100))[::-1]
    for t, rate, distortion in points:
        a = float(diffusion.abar[t])
        assert distortion == pytest.approx(127.5 * math.sqrt(variance * (1 - a) / (a * variance + 1 - a)), rel=0.05)
        assert rate == pytest.approx(float(prior.mean() + bits[:, t + 1 :].sum(1).mean()), rel=1e-9, abs=1e-12)
    rates = [rate for _, rate, _ in points]
    assert rates == sorted(rates)
    # The rate at t = 0 is at least the mutual information of x_0 and x_1.
    a = float(diffusion.abar[0])
    assert rates[-1] > 0.5 * math.log2(1 + a * variance / (1 - a))


def test_the_prior_refuses_images_that_are_not_floating_point():
    with pytest.raises(ValueError, match="floating point"):
        prior_bits(Diffusion(named_betas("linear", 100)), torch.ones(1, 1, 2, 2, dtype=torch.uint8))
