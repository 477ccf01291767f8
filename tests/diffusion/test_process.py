"""The forward process, its posterior, and p_theta from a network output."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion_demo.diffusion.denoiser import call_model
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.samplers import ddpm
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.diffusion.timesteps import spaced_timesteps

PAPERS = ("linear", "squaredcos_cap_v2")

chains = st.lists(st.floats(1e-4, 0.9), min_size=1, max_size=30)
seeds = st.integers(0, 2**31)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(chains, st.floats(-3, 3))
def test_walking_the_chain_has_the_mean_and_variance_of_the_jump(betas, start):
    diffusion = Diffusion(torch.tensor(betas, dtype=torch.float64))
    x0 = torch.full((1, 1, 1, 1), start, dtype=torch.float64)
    zero, one = torch.zeros_like(x0), torch.ones_like(x0)
    mean, variance = x0, zero
    for t in range(len(diffusion)):
        # q_step is linear: its result at (x, 0) gives the mean, its results at (1, 0) and (0, 1) give the variance
        mean = diffusion.q_step(mean, t, zero)
        variance = diffusion.q_step(one, t, zero) ** 2 * variance + diffusion.q_step(zero, t, one) ** 2
        jump = diffusion.q_mean_variance(x0, t)
        torch.testing.assert_close(mean, jump.mean, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(variance, jump.variance, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(diffusion.q_sample(zero, t, one) ** 2, jump.variance, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(diffusion.q_sample(x0, t, zero), jump.mean, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(jump.log_variance.exp(), jump.variance, rtol=1e-9, atol=1e-12)


@given(chains, seeds, st.data())
def test_x0_eps_and_v_round_trips(betas, seed, data):
    diffusion = Diffusion(torch.tensor(betas, dtype=torch.float64))
    t = data.draw(st.integers(0, len(betas) - 1))
    x0, eps = normal(2, 3, 4, 4, seed=seed).clamp(-1, 1), normal(2, 3, 4, 4, seed=seed + 1)
    xt = diffusion.q_sample(x0, t, eps)
    # abar can be 1e-30 here, where x0 is below the float64 resolution of xt
    if diffusion.abar[t] > 1e-12:
        torch.testing.assert_close(diffusion.x0_from_eps(xt, t, eps), x0, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(diffusion.eps_from_x0(xt, t, x0), eps, rtol=1e-6, atol=1e-6)
    v = diffusion.v_from_x0_eps(x0, t, eps)
    torch.testing.assert_close(diffusion.x0_from_v(xt, t, v), x0, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
@given(seed=seeds, t=st.integers(0, 999))
def test_a_network_that_hits_its_target_predicts_the_true_x0(prediction_type, seed, t):
    diffusion = Diffusion(named_betas("linear", 1000), prediction_type)
    x0, eps = normal(2, 1, 2, 2, seed=seed).clamp(-1, 1), normal(2, 1, 2, 2, seed=seed + 1)
    xt = diffusion.q_sample(x0, t, eps)
    target = diffusion.target(x0, t, eps)
    torch.testing.assert_close(diffusion.predict_x0(target, xt, t), x0, rtol=1e-9, atol=1e-9)
    p, q = diffusion.p(target, xt, t), diffusion.q_posterior(x0, xt, t)
    torch.testing.assert_close(p.mean, q.mean, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(p.eps, eps, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("schedule", PAPERS)
@pytest.mark.parametrize("t", [1, 2, 500, 999])
def test_posterior_equals_brute_force_bayes(schedule, t):
    diffusion = Diffusion(named_betas(schedule, 1000))
    x0, xt = 0.3, -0.7 if t > 2 else 0.31
    beta, abar_prev = diffusion.betas[t].item(), diffusion.abar_prev[t].item()
    mean0, sd0 = np.sqrt(abar_prev) * x0, np.sqrt(1 - abar_prev)
    grid = np.linspace(mean0 - 12 * sd0, mean0 + 12 * sd0, 2_000_001)
    log_density = -((grid - mean0) ** 2) / (2 * sd0**2) - (xt - np.sqrt(1 - beta) * grid) ** 2 / (2 * beta)
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    mean = (weight * grid).sum()
    variance = (weight * (grid - mean) ** 2).sum()
    shape = (1, 1, 1, 1)
    q = diffusion.q_posterior(torch.full(shape, x0, dtype=torch.float64), torch.full(shape, xt, dtype=torch.float64), t)
    assert q.mean.item() == pytest.approx(mean, rel=1e-7, abs=1e-9)
    assert q.variance.item() == pytest.approx(variance, rel=1e-6)
    assert q.log_variance.item() == pytest.approx(np.log(variance), abs=1e-6)


@pytest.mark.parametrize("schedule", PAPERS)
def test_posterior_at_t_0_is_x0_itself(schedule):
    diffusion = Diffusion(named_betas(schedule, 1000))
    x0, xt = normal(2, 3, 2, 2), normal(2, 3, 2, 2, seed=1)
    q = diffusion.q_posterior(x0, xt, 0)
    torch.testing.assert_close(q.mean, x0, rtol=1e-12, atol=1e-12)
    assert q.variance.item() == 0


@pytest.mark.parametrize("schedule", PAPERS)
def test_posterior_log_variance_at_t_0_is_the_value_of_t_1(schedule):
    diffusion = Diffusion(named_betas(schedule, 1000))
    assert (
        diffusion.posterior_log_variance[0]
        == diffusion.posterior_log_variance[1]
        == diffusion.posterior_variance[1].log()
    )
    torch.testing.assert_close(
        diffusion.posterior_log_variance[1:].exp(), diffusion.posterior_variance[1:], rtol=1e-12, atol=0
    )


def test_fixed_large_is_beta_but_the_posterior_variance_of_t_1_at_t_0():
    diffusion = Diffusion(named_betas("linear", 1000), variance_type="fixed_large")
    xt = normal(1, 1, 2, 2)
    for t in (1, 500, 999):
        variance, log_variance = diffusion.p_variance(None, xt, t)
        assert variance.item() == diffusion.betas[t] and log_variance.item() == pytest.approx(
            diffusion.betas[t].log().item()
        )
    variance, log_variance = diffusion.p_variance(None, xt, 0)
    assert variance.item() == diffusion.posterior_variance[1] and log_variance.item() == pytest.approx(
        variance.log().item()
    )


@pytest.mark.parametrize("t", [0, 1, 500, 999])
def test_learned_range_runs_from_the_small_to_the_large_variance_and_is_not_clamped(t):
    diffusion = Diffusion(named_betas("squaredcos_cap_v2", 1000), variance_type="learned_range")
    xt = normal(1, 1, 2, 2)

    def log_variance(v):
        variance, log = diffusion.p_variance(torch.full_like(xt, v), xt, t)
        torch.testing.assert_close(variance, log.exp(), rtol=1e-12, atol=0)
        return log[0, 0, 0, 0].item()

    small, large = diffusion.posterior_log_variance[t].item(), diffusion.betas[t].log().item()
    assert log_variance(-1.0) == pytest.approx(small, abs=1e-12)
    assert log_variance(1.0) == pytest.approx(large, abs=1e-12)
    assert log_variance(0.0) == pytest.approx((small + large) / 2, abs=1e-12)
    assert log_variance(3.0) == pytest.approx(2 * large - small, abs=1e-12)


def test_learned_range_reads_its_bounds_from_the_respaced_chain():
    whole = Diffusion(named_betas("linear", 1000), variance_type="learned_range")
    short = whole.respaced(spaced_timesteps(1000, 10))
    xt = normal(1, 1, 2, 2)
    upper = short.p_variance(torch.ones_like(xt), xt, 5)[1][0, 0, 0, 0].item()
    kept = short.timesteps.tolist()
    assert upper == pytest.approx(np.log(1 - (whole.abar[kept[5]] / whole.abar[kept[4]]).item()), abs=1e-9)


@settings(max_examples=50)
@given(st.data())
def test_respacing_keeps_abar_and_the_original_timesteps(data):
    num_timesteps = data.draw(st.integers(2, 1000))
    kept = sorted(data.draw(st.sets(st.integers(0, num_timesteps - 1), min_size=1, max_size=30)))
    diffusion = Diffusion(named_betas("squaredcos_cap_v2", num_timesteps), "v_prediction", "fixed_small")
    short = diffusion.respaced(kept)
    assert short.timesteps.tolist() == kept and len(short) == len(kept)
    torch.testing.assert_close(short.abar, diffusion.abar[kept], rtol=1e-9, atol=1e-15)
    assert (short.prediction_type, short.variance_type) == ("v_prediction", "fixed_small")


def test_respacing_twice_still_tells_the_network_the_original_timesteps():
    diffusion = Diffusion(named_betas("linear", 1000)).respaced(spaced_timesteps(1000, 50)).respaced([0, 24, 49])
    assert diffusion.timesteps.tolist() == [0, spaced_timesteps(1000, 50)[24], 999]


def test_respacing_to_every_step_changes_nothing():
    diffusion = Diffusion(named_betas("linear", 1000))
    torch.testing.assert_close(diffusion.respaced(range(1000)).betas, diffusion.betas, rtol=1e-8, atol=0)


def test_clipping_moves_the_mean_and_eps_together():
    diffusion = Diffusion(named_betas("linear", 1000))
    xt, eps = 3 * normal(1, 1, 4, 4), normal(1, 1, 4, 4, seed=1)
    p = diffusion.p(eps, xt, 500)
    assert p.x0.abs().max() == 1
    torch.testing.assert_close(p.mean, diffusion.q_posterior(p.x0, xt, 500).mean)
    torch.testing.assert_close(diffusion.q_sample(p.x0, 500, p.eps), xt)
    free = diffusion.p(eps, xt, 500, clip=False)
    assert free.x0.abs().max() > 1
    torch.testing.assert_close(free.eps, eps)


def test_each_row_of_a_batch_is_read_at_its_own_t():
    diffusion = Diffusion(named_betas("linear", 1000), variance_type="learned_range")
    xt, output, t = normal(3, 2, 4, 4), normal(3, 4, 4, 4, seed=1), torch.tensor([0, 500, 999])
    together = diffusion.p(output, xt, t)
    for row in range(3):
        alone = diffusion.p(output[row : row + 1], xt[row : row + 1], int(t[row]))
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[row : row + 1], b)


def test_coefficients_at_the_end_of_the_cosine_schedule_survive_float32():
    diffusion = Diffusion(named_betas("squaredcos_cap_v2", 1000))
    xt = normal(1, 1, 4, 4).float()
    assert diffusion.x0_from_eps(torch.zeros_like(xt), 999, torch.ones_like(xt)).mean().item() == pytest.approx(
        -20291, abs=1
    )
    assert diffusion.x0_from_eps(xt, 999, xt).dtype == torch.float32


@pytest.mark.parametrize(
    ("variance_type", "channels", "expected"), [("fixed_small", 6, 3), ("fixed_large", 4, 3), ("learned_range", 3, 6)]
)
def test_a_wrong_number_of_output_channels_is_refused(variance_type, channels, expected):
    diffusion = Diffusion(named_betas("linear", 1000), variance_type=variance_type)
    with pytest.raises(ValueError, match=f"{variance_type}.* {expected} channels, not {channels}"):
        diffusion.p(normal(1, channels, 2, 2), normal(1, 3, 2, 2), 10)


@pytest.mark.parametrize("t", [-1, 1000, torch.tensor([5, 1000])])
def test_a_t_outside_the_chain_is_refused(t):
    diffusion = Diffusion(named_betas("linear", 1000))
    x = normal(2, 1, 2, 2)
    with pytest.raises(IndexError, match=r"0 \.\. 999, not .*(-1|1000)"):
        diffusion.q_sample(x, t, x)


def test_unknown_types_are_refused_by_name():
    betas = named_betas("linear", 100)
    with pytest.raises(ValueError, match=r"prediction_type.*'noise'"):
        Diffusion(betas, prediction_type="noise")
    with pytest.raises(ValueError, match=r"variance_type.*'learned_everything'"):
        Diffusion(betas, variance_type="learned_everything")


@pytest.mark.parametrize("betas", [[0.0, 0.1], [0.1, 1.5], [-0.1], [float("nan")], [[0.1, 0.2]]])
def test_betas_outside_0_to_1_are_refused(betas):
    with pytest.raises(ValueError, match="betas"):
        Diffusion(torch.tensor(betas))


@given(st.integers(0, 999), st.integers(0, 2**31))
def test_previous_round_trips_through_x0_and_its_mean_is_not_clipped(t, seed):
    diffusion = Diffusion(named_betas("linear", 1000), "previous", "learned")
    generator = torch.Generator().manual_seed(seed)
    x0, eps, v = (torch.randn(1, 2, 2, 2, generator=generator, dtype=torch.float64) for _ in range(3))
    xt, mean = diffusion.q_sample(x0, t, eps), diffusion.target(x0, t, eps)
    torch.testing.assert_close(diffusion.x0_from_previous(xt, t, mean), x0, rtol=1e-6, atol=1e-6)
    reverse = diffusion.p(torch.cat([mean, v], dim=1), xt, t)
    assert torch.equal(reverse.mean, mean) and torch.equal(reverse.log_variance, v)
    assert reverse.x0.abs().max() <= 1


def test_a_chain_that_ends_in_pure_noise_is_refused_to_eps_alone():
    with pytest.raises(ValueError, match="abar_T is 0"):
        Diffusion(named_betas("jsd", 10), "epsilon")
    for prediction_type in ("sample", "v_prediction"):
        diffusion = Diffusion(named_betas("jsd", 10), prediction_type)
        x0, eps = torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 2, 2), -1.5)
        reverse = diffusion.p(diffusion.target(x0, 9, eps), diffusion.q_sample(x0, 9, eps), 9)
        torch.testing.assert_close((reverse.x0, reverse.eps), (x0, eps))


def test_the_network_is_told_the_original_t_rescaled_where_the_chain_says_so():
    xt = torch.zeros(3, 1, 2, 2)
    plain = Diffusion(named_betas("linear", 4000)).respaced([0, 10, 3999])
    assert (
        plain.model_timesteps(2, xt).tolist() == [3999] * 3
        and plain.model_timesteps(torch.tensor([0, 1, 2]), xt).dtype == torch.int64
    )
    rescaled = Diffusion(named_betas("linear", 4000), time_scale=1000 / 4000).respaced([0, 10, 3999])
    assert rescaled.model_timesteps(torch.tensor([0, 1, 2]), xt).tolist() == [0, 2.5, 999.75]
    assert rescaled.model_timesteps(1, xt).dtype == torch.float32


def test_a_chain_up_to_t_is_its_beginning():
    diffusion = Diffusion(named_betas("squaredcos_cap_v2", 100), variance_type="fixed_small")
    start = diffusion.up_to(30)
    assert len(start) == 31 and start.timesteps.tolist() == list(range(31))
    torch.testing.assert_close(start.betas, diffusion.betas[:31])


def test_noise_and_images_of_other_shapes_are_refused():
    diffusion = Diffusion(named_betas("linear", 100))
    with pytest.raises(ValueError, match=r"noise must have shape \[2, 3, 4, 4\], not \[1, 3, 4, 4\]"):
        diffusion.q_sample(normal(2, 3, 4, 4), 5, normal(1, 3, 4, 4))
    with pytest.raises(ValueError, match="noise must have shape"):
        diffusion.q_step(normal(2, 3, 4, 4), 5, normal(2, 3, 4, 5))
    with pytest.raises(ValueError, match="x_0 must have shape"):
        diffusion.q_posterior(normal(2, 3, 4, 4), normal(2, 1, 4, 4), 5)
    with pytest.raises(ValueError, match=r"prediction must have shape \[2, 3, 4, 4\], not \[2, 3, 8, 8\]"):
        diffusion.p(normal(2, 3, 8, 8), normal(2, 3, 4, 4), 5)
    with pytest.raises(ValueError, match="each of the 2 images, not 3"):
        diffusion.q_sample(normal(2, 3, 4, 4), torch.tensor([1, 2, 3]), normal(2, 3, 4, 4))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_answer_that_is_no_number_is_refused_where_it_enters(value):
    diffusion = Diffusion(named_betas("linear", 100))
    xt = normal(2, 1, 2, 2)

    def model(x, t):
        answer = torch.zeros_like(x)
        answer[1, 0, 0, 0] = value
        return answer

    with pytest.raises(FloatingPointError, match=r"1 of 8 network output values at t = \[42\]"):
        call_model(model, diffusion, xt, 42)
    with pytest.raises(FloatingPointError, match=r"at t = \[99\]"):
        next(ddpm(model, diffusion, xt, lambda: normal(2, 1, 2, 2)))


def test_the_weights_of_the_posterior_mean_keep_a_noiseless_image_noiseless():
    """At x_t = sqrt(abar_t) x_0 the posterior mean is sqrt(abar_{t-1}) x_0."""
    for schedule in PAPERS:
        diffusion = Diffusion(named_betas(schedule, 1000))
        together = diffusion.posterior_coef_x0 + diffusion.posterior_coef_xt * diffusion.abar.sqrt()
        torch.testing.assert_close(together, diffusion.abar_prev.sqrt(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("schedule", PAPERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_log_variance_of_q_is_cast_last(schedule, dtype):
    diffusion = Diffusion(named_betas(schedule, 1000))
    q = diffusion.q_mean_variance(torch.zeros(1000, 1, dtype=dtype), torch.arange(1000))
    exact = torch.log1p(-diffusion.abar)
    assert q.log_variance.dtype == dtype and (q.log_variance < 0).all()
    torch.testing.assert_close(q.log_variance.flatten(), exact.to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_images_that_are_not_floating_point_are_refused(dtype):
    chain, images, eps = (
        Diffusion(named_betas("linear", 100)),
        torch.ones(2, 3, 4, 4).to(dtype),
        torch.zeros(2, 3, 4, 4),
    )
    for call in (
        lambda: chain.q_sample(images, 5, eps),
        lambda: chain.q_step(images, 5, eps),
        lambda: chain.q_mean_variance(images, 5),
        lambda: chain.q_posterior(images, images, 5),
    ):
        with pytest.raises(ValueError, match="floating point"):
            call()
