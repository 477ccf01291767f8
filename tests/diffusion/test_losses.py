"""KL, the discrete decoder, the terms of the bound, and the training losses."""

# pyright: reportAttributeAccessIssue=false
# Reason: a frozen distribution is taken for a discrete one, as scipy has no stubs.

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from diffusion_demo.diffusion.losses import (
    decoder_log_likelihood,
    decoder_term,
    kl_term,
    min_snr_weight,
    normal_kl,
    training_losses,
    vlb_term,
)
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import named_betas

means, log_variances = st.floats(-3, 3), st.floats(-8, 3)


def tensor(value):
    return torch.tensor(value, dtype=torch.float64)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(means, log_variances, means, log_variances)
def test_normal_kl_equals_torch(mean1, log1, mean2, log2):
    ours = normal_kl(tensor(mean1), tensor(log1), tensor(mean2), tensor(log2))
    p, q = (torch.distributions.Normal(tensor(m), tensor(v / 2).exp()) for m, v in ((mean1, log1), (mean2, log2)))
    torch.testing.assert_close(ours, torch.distributions.kl_divergence(p, q), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", [(0.0, 0.0, 0.0, 0.0), (0.5, -1.0, -0.5, 0.3), (0.1, -3.0, 0.2, -2.0)])
def test_normal_kl_equals_the_integral(case):
    mean1, log1, mean2, log2 = case
    p, q = stats.norm(mean1, math.exp(log1 / 2)), stats.norm(mean2, math.exp(log2 / 2))
    low, high = mean1 - 12 * p.std(), mean1 + 12 * p.std()
    expected, _ = integrate.quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), low, high)
    assert normal_kl(*map(tensor, case)).item() == pytest.approx(expected, abs=1e-7)


@given(st.floats(-1.5, 1.5), st.floats(-6, 1))
def test_decoder_gives_the_256_values_a_total_probability_of_1(mean, log_scale):
    x0 = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    log_p = decoder_log_likelihood(x0, torch.full_like(x0, mean), torch.full_like(x0, log_scale))
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-6)


@given(st.floats(-1.2, 1.2), st.floats(-6, 1))
def test_decoder_is_within_one_thousandth_of_the_exact_normal(mean, log_scale):
    x0 = np.arange(256) / 127.5 - 1
    upper, lower = (
        stats.norm.cdf(x0 + 1 / 255, mean, np.exp(log_scale)),
        stats.norm.cdf(x0 - 1 / 255, mean, np.exp(log_scale)),
    )
    upper[-1], lower[0] = 1, 0
    found = decoder_log_likelihood(
        torch.from_numpy(x0), torch.full((256,), mean).double(), torch.full((256,), log_scale).double()
    ).exp()
    np.testing.assert_allclose(found.numpy(), upper - lower, rtol=0, atol=1e-3)


def test_decoder_favours_the_value_at_its_mean():
    x0 = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    for value in (0, 1, 128, 254, 255):
        log_p = decoder_log_likelihood(x0, x0[value].expand(256), tensor(-5.0).expand(256))
        assert log_p.argmax() == value


def exact_output(diffusion, eps, v=-1.0):
    return torch.cat([eps, torch.full_like(eps, v)], dim=1) if diffusion.learns_variance else eps


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("variance_type", ["fixed_small", "learned_range"])
def test_a_network_that_reproduces_the_true_posterior_has_no_kl(variance_type, clip):
    diffusion = Diffusion(named_betas("squaredcos_cap_v2", 1000), variance_type=variance_type)
    t = torch.tensor([1, 2, 10, 500, 900])
    x0, eps = normal(5, 3, 4, 4).clamp(-1, 1), normal(5, 3, 4, 4, seed=1)
    xt = diffusion.q_sample(x0, t, eps)
    assert vlb_term(diffusion, exact_output(diffusion, eps), x0, xt, t, clip).abs().max() < 1e-9
    wrong = vlb_term(diffusion, exact_output(diffusion, eps + 0.1), x0, xt, t, clip)
    assert bool((wrong > 1e-6).all())


def test_a_row_at_t_0_is_given_the_decoder_term_and_any_other_its_kl():
    diffusion = Diffusion(named_betas("linear", 100), variance_type="fixed_large")
    x0, eps, t = normal(3, 1, 4, 4).clamp(-1, 1), normal(3, 1, 4, 4, seed=1), torch.tensor([0, 1, 60])
    xt = diffusion.q_sample(x0, t, eps)
    p = diffusion.p(0.9 * eps, xt, t)
    kl = kl_term(diffusion.q_posterior(x0, xt, t), p)
    torch.testing.assert_close(
        vlb_term(diffusion, 0.9 * eps, x0, xt, t), torch.stack([decoder_term(p, x0)[0], kl[1], kl[2]])
    )


def test_a_variance_apart_from_the_posterior_costs_its_kl():
    diffusion = Diffusion(named_betas("linear", 1000), variance_type="fixed_large")
    x0, eps, t = normal(2, 1, 4, 4).clamp(-1, 1), normal(2, 1, 4, 4, seed=1), torch.tensor([10, 300])
    xt = diffusion.q_sample(x0, t, eps)
    ratio = (diffusion.posterior_variance / diffusion.betas)[t]
    expected = 0.5 * (ratio - 1 - ratio.log()) / math.log(2)
    torch.testing.assert_close(vlb_term(diffusion, eps, x0, xt, t, clip=False), expected, rtol=1e-6, atol=1e-12)


def test_the_term_at_t_0_is_the_decoder_in_bits():
    diffusion = Diffusion(named_betas("linear", 1000), variance_type="fixed_small")
    pixels = torch.randint(0, 256, (2, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    x0, eps = pixels.double() / 127.5 - 1, normal(2, 1, 8, 8)
    t = torch.tensor([0, 0])
    xt = diffusion.q_sample(x0, t, eps)
    p = diffusion.p(eps * 0.5, xt, 0)
    scale = (0.5 * diffusion.posterior_log_variance[1]).exp()
    log_p = decoder_log_likelihood(x0, p.mean, scale.log().expand_as(x0))
    torch.testing.assert_close(vlb_term(diffusion, eps * 0.5, x0, xt, t), -log_p.flatten(1).mean(1) / math.log(2))
    perfect = vlb_term(diffusion, eps, x0, xt, t)
    assert bool((perfect < vlb_term(diffusion, eps * 0.5, x0, xt, t)).all())


@pytest.mark.parametrize("num_timesteps", [100, 1000])
def test_hybrid_loss_trains_the_prediction_by_the_mse_and_the_variance_by_the_bound(num_timesteps):
    diffusion = Diffusion(named_betas("squaredcos_cap_v2", num_timesteps), variance_type="learned_range")
    t = torch.tensor([0, 1, num_timesteps // 2, num_timesteps - 1])
    x0, eps = normal(4, 2, 4, 4).clamp(-1, 1), normal(4, 2, 4, 4, seed=1)
    xt = diffusion.q_sample(x0, t, eps)
    x0, xt, eps = x0.float(), xt.float(), eps.float()
    output = normal(4, 4, 4, 4, seed=2).float().requires_grad_()
    losses = training_losses(diffusion, output, x0, xt, t, eps)
    (whole,) = torch.autograd.grad(losses.loss.sum(), output, retain_graph=True)

    plain = output.detach().clone().requires_grad_()
    (mse,) = torch.autograd.grad(((plain[:, :2] - eps) ** 2).flatten(1).mean(1).sum(), plain)
    torch.testing.assert_close(whole[:, :2], mse[:, :2], rtol=1e-6, atol=1e-9)

    bound = output.detach().clone().requires_grad_()
    term = vlb_term(diffusion, bound, x0, xt, t, clip=False)
    (vlb,) = torch.autograd.grad(term.sum(), bound)
    torch.testing.assert_close(whole[:, 2:], num_timesteps / 1000 * vlb[:, 2:], rtol=1e-5, atol=1e-9)
    assert bool((whole[:, 2:].abs().flatten(1).sum(1) > 0).all())
    torch.testing.assert_close(losses.vlb, term)
    torch.testing.assert_close(losses.loss, losses.mse + num_timesteps / 1000 * losses.vlb)


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
def test_the_simple_loss_is_the_mse_to_the_target(prediction_type):
    diffusion = Diffusion(named_betas("linear", 1000), prediction_type, "fixed_large")
    x0, eps, t = normal(3, 1, 4, 4).float(), normal(3, 1, 4, 4, seed=1).float(), torch.tensor([0, 500, 999])
    xt, target = diffusion.q_sample(x0, t, eps), diffusion.target(x0, t, eps)
    losses = training_losses(diffusion, target + 0.5, x0, xt, t, eps)
    torch.testing.assert_close(losses.loss, torch.full((3,), 0.25), rtol=1e-5, atol=1e-6)
    assert losses.vlb is None
    assert training_losses(diffusion, target, x0, xt, t, eps).loss.abs().max() == 0


def some_batch(diffusion, t):
    x0 = torch.randint(0, 256, (len(t), 2, 4, 4), generator=torch.Generator().manual_seed(0)).double() / 127.5 - 1
    eps = normal(len(t), 2, 4, 4, seed=1)
    output = normal(len(t), 4 if diffusion.learns_variance else 2, 4, 4, seed=2)
    return output.float(), x0.float(), diffusion.q_sample(x0, t, eps).float(), t, eps.float()


@pytest.mark.parametrize("variance_type", ["fixed_small", "learned", "learned_range"])
@pytest.mark.parametrize(("kind", "factor"), [("kl", 1), ("rescaled_kl", 250)])
def test_the_kl_losses_are_the_bound_term_and_train_the_prediction_too(variance_type, kind, factor):
    diffusion = Diffusion(named_betas("linear", 250), variance_type=variance_type)
    output, *rest = some_batch(diffusion, torch.tensor([0, 1, 120, 249]))
    output.requires_grad_()
    x0, xt, t, _ = rest
    losses = training_losses(diffusion, output, *rest, kind=kind)
    torch.testing.assert_close(losses.loss, factor * vlb_term(diffusion, output, x0, xt, t, clip=False))
    (gradient,) = torch.autograd.grad(losses.loss.sum(), output)
    assert bool((gradient.abs().flatten(2).sum(2) > 0).all()), "every channel of every row is trained"


def test_over_all_t_the_rescaled_kl_adds_up_to_the_whole_bound():
    diffusion = Diffusion(named_betas("squaredcos_cap_v2", 50), variance_type="learned_range")
    t = torch.arange(50)
    losses = training_losses(diffusion, *some_batch(diffusion, t), kind="rescaled_kl")
    assert losses.vlb is not None
    torch.testing.assert_close(losses.loss.mean(), losses.vlb.sum())


def test_the_unscaled_hybrid_counts_the_bound_term_once():
    diffusion = Diffusion(named_betas("linear", 4000), variance_type="learned_range")
    batch = some_batch(diffusion, torch.tensor([0, 17, 3999]))
    scaled, unscaled = (training_losses(diffusion, *batch, kind=kind) for kind in ("hybrid", "hybrid_unscaled"))
    assert scaled.vlb is not None and unscaled.vlb is not None
    torch.testing.assert_close(unscaled.loss, unscaled.mse + unscaled.vlb)
    torch.testing.assert_close(scaled.loss, scaled.mse + 4 * scaled.vlb)


@pytest.mark.parametrize(
    ("variance_type", "kind", "words"),
    [("learned_range", "simple", "hybrid"), ("fixed_large", "huber", "simple, hybrid, hybrid_unscaled, kl")],
)
def test_a_loss_that_cannot_be_had_is_refused(variance_type, kind, words):
    diffusion = Diffusion(named_betas("linear", 100), variance_type=variance_type)
    with pytest.raises(ValueError, match=words):
        training_losses(diffusion, *some_batch(diffusion, torch.tensor([3])), kind=kind)


def test_loss_arithmetic_is_float32_for_a_bfloat16_network():
    diffusion = Diffusion(named_betas("linear", 1000), variance_type="learned_range")
    x0, eps, t = normal(2, 1, 4, 4).float(), normal(2, 1, 4, 4, seed=1).float(), torch.tensor([3, 700])
    output = normal(2, 2, 4, 4, seed=2).bfloat16()
    losses = training_losses(diffusion, output, x0, diffusion.q_sample(x0, t, eps), t, eps)
    assert losses.loss.dtype == losses.mse.dtype == torch.float32
    assert losses.vlb is not None and losses.vlb.dtype == torch.float32


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
def test_min_snr_weighs_the_same_error_of_x0_alike_whatever_is_predicted(prediction_type):
    diffusion = Diffusion(named_betas("squaredcos_cap_v2", 1000), prediction_type, "fixed_large")
    x0, eps, t = normal(4, 3, 8, 8).float(), normal(4, 3, 8, 8, seed=1).float(), torch.tensor([50, 300, 600, 900])
    xt = diffusion.q_sample(x0, t, eps)
    wrong = x0 + 0.1  # squared error 0.01
    eps_of_wrong = diffusion.eps_from_x0(xt, t, wrong)
    output = {
        "epsilon": eps_of_wrong,
        "sample": wrong,
        "v_prediction": diffusion.v_from_x0_eps(wrong, t, eps_of_wrong),
    }[prediction_type]
    found = training_losses(diffusion, output, x0, xt, t, eps, "simple", snr_gamma=5.0)
    snr = diffusion.abar[t] / (1 - diffusion.abar[t])
    torch.testing.assert_close(found.loss, (0.01 * snr.clamp(max=5)).float(), rtol=1e-3, atol=1e-6)
    assert torch.equal(found.mse, training_losses(diffusion, output, x0, xt, t, eps, "simple").mse)


def test_min_snr_weights_are_those_of_diffusers_examples():
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    t = torch.arange(1000)
    snr = compute_snr(scheduler, t).double()
    for prediction_type, divisor in (("epsilon", snr), ("v_prediction", snr + 1)):
        diffusion = Diffusion(named_betas("squaredcos_cap_v2", 1000), prediction_type, "fixed_large")
        torch.testing.assert_close(min_snr_weight(diffusion, t, 5.0), snr.clamp(max=5) / divisor, rtol=1e-3, atol=1e-9)


def test_min_snr_is_refused_where_it_has_no_meaning():
    diffusion = Diffusion(named_betas("linear", 100), "previous", "fixed_large")
    with pytest.raises(ValueError, match="previous"):
        min_snr_weight(diffusion, torch.tensor([1]), 5.0)


def test_the_decoder_refuses_images_that_are_not_floating_point():
    mean = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="floating point"):
        decoder_log_likelihood(torch.ones(1, 1, 2, 2, dtype=torch.uint8), mean, mean)
