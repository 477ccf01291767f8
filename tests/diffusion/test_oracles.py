"""Optimal denoisers in closed form, and the samplers applied to them; for Gaussian data every sampler is linear."""

import numpy as np
import pytest
import torch
from scipy import stats

from diffusion_demo.diffusion import oracles
from diffusion_demo.diffusion.oracles import finite_set, mixture, pixel_entropy, pixels
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.samplers import SAMPLERS, ddim_encode
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.diffusion.timesteps import spaced_timesteps

PAPERS = ("linear", "squaredcos_cap_v2")

D = 4
SHAPE = (1, 2, 2)
CASES = [
    ("ddpm", "fixed_small", 1.0),
    ("ddpm", "fixed_large", None),
    ("ddim", "fixed_small", 0.0),
    ("ddim", "fixed_small", 0.5),
]


def gaussian(mean, covariance, abar):
    return oracles.gaussian(mean, torch.linalg.cholesky(covariance).T, abar)


@pytest.fixture(scope="module")
def covariance():
    root = torch.randn(D, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return 0.2 * root @ root.T + 0.05 * torch.eye(D, dtype=torch.float64)


def no_noise(rows):
    return lambda: torch.zeros(rows, *SHAPE, dtype=torch.float64)


def sampled_covariance(name, diffusion, covariance, steps, eta):
    """Return the covariance of the samples, from the response to each basis vector as x_T and as noise of each step."""
    short = diffusion.respaced(spaced_timesteps(len(diffusion), steps))
    model = gaussian(torch.zeros(SHAPE), covariance, diffusion.abar)
    basis = torch.eye(D, dtype=torch.float64).reshape(D, *SHAPE)
    sources = torch.zeros(steps, steps, D, *SHAPE, dtype=torch.float64)
    for source in range(steps):
        sources[source, source] = basis
    draws = iter(sources.transpose(0, 1).reshape(steps, steps * D, *SHAPE))
    start = next(draws)
    settings = {} if name == "ddpm" else {"eta": eta}
    *_, last = SAMPLERS[name](model, short, start, lambda: next(draws), clip=False, **settings)
    answers = last.xt.reshape(steps * D, D)
    return answers.T @ answers


def recursion(diffusion, eigenvalue, steps, variance_of_step, eta):
    """Return the variance of the samples along one eigenvector of the data covariance, from the scalar formulas."""
    abar = diffusion.abar.numpy()[spaced_timesteps(len(diffusion), steps)]
    variance = 1.0
    for i in reversed(range(steps)):
        a, previous = abar[i], abar[i - 1] if i else 1.0
        beta, marginal = 1 - a / previous, a * eigenvalue + 1 - a
        x0, eps = np.sqrt(a) * eigenvalue / marginal, np.sqrt(1 - a) / marginal
        small = (1 - previous) / (1 - a) * beta
        if eta is None:
            factor = np.sqrt(previous) * beta / (1 - a) * x0 + (1 - previous) * np.sqrt(1 - beta) / (1 - a)
            added = beta if variance_of_step == "fixed_large" else small
        else:
            factor = np.sqrt(previous) * x0 + np.sqrt(max(0.0, 1 - previous - eta**2 * small)) * eps
            added = eta**2 * small
        variance = factor**2 * variance + (added if i else 0)
    return variance


@pytest.mark.parametrize("schedule", PAPERS)
def test_gaussian_oracle_is_the_score_of_the_noisy_data(schedule, covariance):
    abar = Diffusion(named_betas(schedule, 1000)).abar
    mean = torch.tensor([0.3, -0.2, 0.0, 0.5], dtype=torch.float64)
    x = torch.randn(3, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for t in (0, 1, 300, 999):
        marginal = abar[t] * covariance + (1 - abar[t]) * torch.eye(D, dtype=torch.float64)
        points = x.clone().requires_grad_()
        density = torch.distributions.MultivariateNormal(abar[t].sqrt() * mean, marginal).log_prob(points).sum()
        (score,) = torch.autograd.grad(density, points)
        eps = gaussian(mean.reshape(SHAPE), covariance, abar)(x.reshape(3, *SHAPE), torch.full((3,), t))
        torch.testing.assert_close(eps.reshape(3, D), -(1 - abar[t]).sqrt() * score, rtol=1e-6, atol=1e-9)


def test_gaussian_oracle_of_few_directions_and_a_floor_is_that_of_the_whole_covariance():
    abar = Diffusion(named_betas("linear", 1000)).abar
    root, mean = (
        torch.randn(2, D, generator=torch.Generator().manual_seed(5), dtype=torch.float64),
        torch.full(SHAPE, 0.1),
    )
    whole = root.T @ root + 0.3 * torch.eye(D, dtype=torch.float64)
    x, t = (
        torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64),
        torch.tensor([0, 400, 999]),
    )
    torch.testing.assert_close(oracles.gaussian(mean, root, abar, floor=0.3)(x, t), gaussian(mean, whole, abar)(x, t))


def test_gaussian_oracle_reads_each_row_at_its_own_t(covariance):
    abar = Diffusion(named_betas("linear", 1000)).abar
    model = gaussian(torch.zeros(SHAPE), covariance, abar)
    x, t = (
        torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64),
        torch.tensor([0, 400, 999]),
    )
    for row in range(3):
        torch.testing.assert_close(model(x, t)[row : row + 1], model(x[row : row + 1], t[row : row + 1]))


def test_the_recursion_with_eta_1_is_the_ancestral_one():
    diffusion = Diffusion(named_betas("linear", 1000))
    assert recursion(diffusion, 0.7, 20, "fixed_small", 1.0) == pytest.approx(
        recursion(diffusion, 0.7, 20, "fixed_small", None), rel=1e-9
    )


@pytest.mark.parametrize("schedule", PAPERS)
@pytest.mark.parametrize(("name", "variance_type", "eta"), CASES)
@pytest.mark.parametrize("steps", [1, 2, 10, 50])
def test_sampling_gaussian_data_has_the_covariance_of_the_linear_recursion(
    schedule, name, variance_type, eta, steps, covariance
):
    diffusion = Diffusion(named_betas(schedule, 1000), variance_type=variance_type)
    eigenvalues, directions = torch.linalg.eigh(covariance)
    expected = [
        recursion(diffusion, value, steps, variance_type, None if name == "ddpm" else eta)
        for value in eigenvalues.tolist()
    ]
    found = sampled_covariance(name, diffusion, covariance, steps, eta)
    torch.testing.assert_close(
        found, directions @ torch.diag(torch.tensor(expected, dtype=torch.float64)) @ directions.T, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "variance_type", "eta"), [*CASES, *(("dpm_solver", "fixed_small", eta) for eta in (0.0, 0.5, 1.0))]
)
def test_more_steps_bring_the_covariance_to_that_of_the_data(name, variance_type, eta, covariance):
    diffusion = Diffusion(named_betas("squaredcos_cap_v2", 1000), variance_type=variance_type)
    found = {steps: sampled_covariance(name, diffusion, covariance, steps, eta) for steps in (10, 50, 250)}
    error = {steps: ((found[steps] - covariance).norm() / covariance.norm()).item() for steps in found}
    assert error[10] > error[50] > error[250]
    assert error[250] < 0.03, error


@pytest.mark.parametrize("name", SAMPLERS)
def test_without_noise_in_the_start_sampling_ends_at_the_mean_of_gaussian_data(name, covariance):
    diffusion = Diffusion(named_betas("squaredcos_cap_v2", 1000))
    mean = torch.tensor([0.3, -0.2, 0.0, 0.5], dtype=torch.float64).reshape(SHAPE)
    model = gaussian(mean, covariance, diffusion.abar)
    short = diffusion.respaced(spaced_timesteps(1000, 250))
    *_, last = SAMPLERS[name](model, short, torch.zeros(1, *SHAPE, dtype=torch.float64), no_noise(1), clip=False)
    torch.testing.assert_close(last.xt[0], mean, rtol=0, atol=1e-2)


@pytest.fixture(scope="module")
def members():
    return torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(4)) * 1.8 - 0.9


def nearest(samples, members):
    distance = (samples.flatten(1)[:, None] - members.flatten(1)[None]).abs().amax(2)
    return distance.min(1)


@pytest.mark.parametrize("schedule", PAPERS)
@pytest.mark.parametrize(("name", "settings"), [("ddim", {}), ("ddim", {"eta": 1.0}), ("ddpm", {})])
def test_a_finite_set_is_all_that_its_oracle_can_draw_and_all_of_it_is_reached(schedule, name, settings, members):
    diffusion = Diffusion(named_betas(schedule, 1000))
    model, generator = finite_set(members, diffusion.abar), torch.Generator().manual_seed(8)
    rows = 200

    def noise():
        return torch.randn(rows, 1, 4, 4, generator=generator)

    *_, last = SAMPLERS[name](model, diffusion.respaced(spaced_timesteps(1000, 50)), noise(), noise, **settings)
    distance, member = nearest(last.xt, members)
    assert distance.max() < 1e-2
    share = torch.bincount(member, minlength=5) / rows
    assert bool((share > 0.08).all()), share


def test_finite_set_oracle_of_one_member_knows_the_noise_exactly():
    diffusion = Diffusion(named_betas("linear", 1000))
    member = torch.rand(1, 3, 2, 2, dtype=torch.float64)
    eps = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    t = torch.tensor([10, 900])
    xt = diffusion.q_sample(member.expand(2, -1, -1, -1), t, eps)
    torch.testing.assert_close(finite_set(member, diffusion.abar)(xt, t), eps, rtol=1e-9, atol=1e-9)


def test_finite_set_oracle_weighs_its_members_by_bayes_rule(members):
    diffusion = Diffusion(named_betas("linear", 1000))
    t, x = 600, torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a = diffusion.abar[t]
    density = torch.distributions.Normal(a.sqrt() * members.double(), (1 - a).sqrt()).log_prob(x).flatten(1).sum(1)
    weight = (density - density.logsumexp(0)).exp()
    expected = (weight.reshape(5, 1, 1, 1) * members.double()).sum(0, keepdim=True)
    eps = finite_set(members, diffusion.abar)(x, torch.tensor([t]))
    torch.testing.assert_close(diffusion.x0_from_eps(x, t, eps), expected)


def test_ddim_encodes_and_decodes_back_the_better_the_more_steps():
    """With the optimal denoiser of Gaussian data, x_0 -> x_T -> x_0 is the identity up to discretization error."""
    covariance = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)
    diffusion = Diffusion(named_betas("squaredcos_cap_v2", 1000))
    oracle = gaussian(torch.zeros(1, 1, 2, dtype=torch.float64), covariance, diffusion.abar)
    x0 = torch.randn(16, 1, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    errors = []
    for steps in (10, 50, 250):
        chain = diffusion.respaced(spaced_timesteps(1000, steps))
        *_, start, _pure = ddim_encode(oracle, chain, x0)
        *_, back = SAMPLERS["ddim"](oracle, chain, start.xt, lambda: torch.zeros_like(x0), clip=False)
        errors.append(float((back.xt - x0).abs().max()))
    assert errors[0] > 2 * errors[1] > 4 * errors[2] and errors[2] < 0.03


@pytest.mark.parametrize("t", [0, 300, 999])
def test_mixture_oracle_is_the_score_of_the_noisy_mixture(t, members):
    abar = Diffusion(named_betas("linear", 1000)).abar
    weights = torch.tensor([0.1, 0.2, 0.3, 0.3, 0.1], dtype=torch.float64)
    x = torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a, centres = abar[t], members.double().flatten(1)
    each = torch.distributions.Normal(a.sqrt() * centres, (a * 0.05 + 1 - a).sqrt())
    density = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(weights), torch.distributions.Independent(each, 1)
    )
    points = x.flatten(1).clone().requires_grad_()
    (score,) = torch.autograd.grad(density.log_prob(points).sum(), points)
    eps = mixture(members, 0.05, abar, weights)(x, torch.full((4,), t))
    torch.testing.assert_close(eps.flatten(1), -(1 - a).sqrt() * score, rtol=1e-6, atol=1e-9)


def test_mixture_oracle_of_one_component_is_the_gaussian_one():
    abar = Diffusion(named_betas("squaredcos_cap_v2", 1000)).abar
    mean, x = torch.full(SHAPE, 0.2, dtype=torch.float64), torch.randn(2, *SHAPE, dtype=torch.float64)
    t = torch.tensor([3, 700])
    torch.testing.assert_close(
        mixture(mean.unsqueeze(0), 0.3, abar)(x, t), gaussian(mean, 0.3 * torch.eye(D, dtype=torch.float64), abar)(x, t)
    )


def gray_levels(seed=0, shape=(1, 2, 2)):
    """Return probabilities of 256 gray levels per pixel, from flat to peaked; the first pixel is black or white."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(256, *shape, generator=generator, dtype=torch.float64) * torch.linspace(
        0.5, 6, shape[-1] * shape[-2]
    ).reshape(shape)
    probabilities = torch.softmax(scores, dim=0)
    probabilities[:, 0, 0, 0] = 0
    probabilities[[0, 255], 0, 0, 0] = 0.5
    return probabilities


@pytest.mark.parametrize("t", [0, 100, 900])
def test_pixel_oracle_weighs_the_gray_levels_by_bayes_rule(t):
    diffusion = Diffusion(named_betas("linear", 1000))
    probabilities, a = gray_levels(), diffusion.abar[t]
    generator = torch.Generator().manual_seed(1)
    drawn = (
        torch.multinomial(probabilities.flatten(1).T, 3, generator=generator).T.reshape(3, 1, 2, 2).double() / 127.5 - 1
    )
    xt = diffusion.q_sample(drawn, t, torch.randn(3, 1, 2, 2, generator=generator, dtype=torch.float64))
    x0 = diffusion.x0_from_eps(xt, t, pixels(probabilities, diffusion.abar)(xt, torch.full((3,), t)))
    levels = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    for row in range(3):
        for y, x in np.ndindex(2, 2):
            likelihood = torch.distributions.Normal(a.sqrt() * levels, (1 - a).sqrt()).log_prob(xt[row, 0, y, x]).exp()
            posterior = likelihood * probabilities[:, 0, y, x]
            expected = (posterior * levels).sum() / posterior.sum()
            torch.testing.assert_close(x0[row, 0, y, x], expected, rtol=1e-6, atol=1e-8)


def test_pixel_entropy_is_scipys():
    probabilities = gray_levels()
    expected = stats.entropy(probabilities.flatten(1).numpy(), base=2, axis=0).mean()
    assert pixel_entropy(probabilities) == pytest.approx(expected, rel=1e-9)
