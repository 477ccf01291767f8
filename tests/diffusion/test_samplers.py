"""The samplers: every step against the schedulers of diffusers, and their behavior as generators."""

# pyright: reportAttributeAccessIssue=false
# Reason: a diffusers step returns a tuple only with return_dict=False.

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

from diffusion_demo.diffusion.oracles import finite_set
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.samplers import (
    SAMPLERS,
    ddim,
    ddim_encode,
    ddim_step,
    ddpm,
    ddpm_step,
    dpm_solver,
    dpm_solver_step,
)
from diffusion_demo.diffusion.schedules import log_signal_to_noise, named_betas
from diffusion_demo.diffusion.timesteps import log_snr_timesteps, spaced_timesteps

PAPERS = ("linear", "squaredcos_cap_v2")

SHAPE = (2, 3, 8, 8)


def noise_from(seed, shape=SHAPE, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator, dtype=dtype)


def whole_chain(schedule="linear", variance_type="fixed_small"):
    return Diffusion(named_betas(schedule, 1000), variance_type=variance_type)


def like(scheduler_class, diffusion, schedule, **settings):
    ends: dict[str, Any] = {"beta_start": diffusion.betas[0].item(), "beta_end": diffusion.betas[-1].item()}
    return scheduler_class(num_train_timesteps=1000, beta_schedule=schedule, clip_sample=True, **ends, **settings)


def noisy_images(diffusion, t):
    """Return x_t of random images and a nearly correct network output, which clips only some values of x_0."""
    draw = noise_from(3)
    eps = draw()
    xt = diffusion.q_sample(draw().clamp(-1, 1), t, eps)
    output = 0.9 * eps + 0.1 * draw()
    return xt, torch.cat([output, draw().tanh()], dim=1) if diffusion.learns_variance else output


def assert_close_to_diffusers(ours, theirs, t):
    # the tables of diffusers are float32, whose error is largest where 1 - abar is tiny
    assert (ours - theirs).abs().max() <= (1e-4 if t >= 4 else 1e-3) * theirs.abs().max()


@pytest.mark.parametrize("schedule", PAPERS)
@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large", "learned_range"])
@pytest.mark.parametrize("t", [0, 1, 2, 4, 500, 999])
def test_one_ddpm_step_equals_diffusers(schedule, variance_type, t):
    diffusion = whole_chain(schedule, variance_type)
    scheduler = like(DDPMScheduler, diffusion, schedule, variance_type=variance_type)
    xt, output = noisy_images(diffusion, t)
    up_to_t = diffusion.respaced(range(t + 1))
    step = next(ddpm(lambda x, t: output, up_to_t, xt, noise_from(9)))
    theirs = scheduler.step(output, t, xt, generator=torch.Generator().manual_seed(9))
    assert step.t == t
    assert_close_to_diffusers(step.xt, theirs.prev_sample, t)
    assert_close_to_diffusers(step.x0, theirs.pred_original_sample, max(t, 1) if schedule == "linear" else 0)


@pytest.mark.parametrize("schedule", PAPERS)
@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large", "learned_range"])
def test_every_step_of_a_respaced_ddpm_chain_equals_diffusers(schedule, variance_type):
    diffusion = whole_chain(schedule, variance_type)
    kept = spaced_timesteps(1000, 20)
    scheduler = like(DDPMScheduler, diffusion, schedule, variance_type=variance_type)
    scheduler.set_timesteps(timesteps=kept[::-1])
    oracle = finite_set(noise_from(1, (4, *SHAPE[1:]))().clamp(-1, 1), diffusion.abar)

    def model(xt, t):
        # scaled, because float32 tables are too inaccurate for the exact eps at t = 999 of the cosine schedule
        eps = 0.9 * oracle(xt, t)
        return torch.cat([eps, eps.tanh()], dim=1) if diffusion.learns_variance else eps

    generator, xt = torch.Generator().manual_seed(9), noise_from(2)()
    for step in ddpm(model, diffusion.respaced(kept), xt, noise_from(9)):
        theirs = scheduler.step(model(xt, torch.full((2,), step.t)), step.t, xt, generator=generator)
        assert_close_to_diffusers(step.xt, theirs.prev_sample, step.t)
        xt = step.xt
    assert step.index == 20


@pytest.mark.parametrize("schedule", PAPERS)
@pytest.mark.parametrize("eta", [0.0, 0.7])
@pytest.mark.parametrize("t", [0, 1, 2, 4, 500, 999])
def test_one_ddim_step_equals_diffusers(schedule, eta, t):
    diffusion = whole_chain(schedule)
    scheduler = like(DDIMScheduler, diffusion, schedule, set_alpha_to_one=True)
    scheduler.set_timesteps(1000)
    xt, output = noisy_images(diffusion, t)
    step = next(ddim(lambda x, t: output, diffusion.respaced(range(t + 1)), xt, noise_from(9), eta=eta))
    theirs = scheduler.step(
        output, t, xt, eta=eta, use_clipped_model_output=True, variance_noise=noise_from(9)()
    ).prev_sample
    assert_close_to_diffusers(step.xt, theirs, t)


@pytest.mark.parametrize("schedule", PAPERS)
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_every_step_of_a_respaced_ddim_chain_equals_diffusers(schedule, eta):
    diffusion = whole_chain(schedule)
    # DDIMScheduler assumes the previous timestep t - 1000 // 20, which is correct for "leading" spacing
    scheduler = like(DDIMScheduler, diffusion, schedule, set_alpha_to_one=True, timestep_spacing="leading")
    scheduler.set_timesteps(20)
    model = finite_set(noise_from(1, (4, *SHAPE[1:]))().clamp(-1, 1), diffusion.abar)
    noise, xt = noise_from(9), noise_from(2)()
    for step in ddim(model, diffusion.respaced(scheduler.timesteps.tolist()), xt, noise_from(9), eta=eta):
        output = model(xt, torch.full((2,), step.t))
        drawn = noise() if step.index < step.total else torch.zeros(SHAPE)
        theirs = scheduler.step(
            output, step.t, xt, eta=eta, use_clipped_model_output=True, variance_noise=drawn if eta else None
        ).prev_sample
        assert_close_to_diffusers(step.xt, theirs, step.t)
        xt = step.xt


@pytest.mark.parametrize("schedule", PAPERS)
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(("eta", "algorithm"), [(0.0, "dpmsolver++"), (1.0, "sde-dpmsolver++")])
def test_the_dpm_solver_equals_diffusers_from_its_second_step_on(schedule, prediction_type, eta, algorithm):
    """Our first step is never used for extrapolation, so the diffusers scheduler starts at our second step."""
    diffusion = Diffusion(named_betas(schedule, 1000), prediction_type, "fixed_small")
    oracle = finite_set(noise_from(1, (4, *SHAPE[1:]))().clamp(-1, 1), diffusion.abar)

    def model(xt, t):
        eps = oracle(xt, t)
        return (
            eps if prediction_type == "epsilon" else diffusion.v_from_x0_eps(diffusion.x0_from_eps(xt, t, eps), t, eps)
        )

    kept = log_snr_timesteps(diffusion.abar, 12)
    options: dict[str, Any] = {
        "prediction_type": prediction_type,
        "beta_schedule": schedule,
        "final_sigmas_type": "zero",
    }
    ends: dict[str, Any] = {"beta_start": diffusion.betas[0].item(), "beta_end": diffusion.betas[-1].item()}
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=1000, algorithm_type=algorithm, solver_order=2, **options, **ends
    )
    scheduler.set_timesteps(timesteps=kept[-2::-1])
    steps, draw = (
        dpm_solver(model, diffusion.respaced(kept), noise_from(2)(), noise_from(9), eta=eta, clip=False),
        noise_from(9),
    )
    xt, _ = next(steps).xt, draw()
    for step in steps:
        theirs = scheduler.step(model(xt, torch.full((2,), step.t)), step.t, xt, variance_noise=draw()).prev_sample
        assert_close_to_diffusers(step.xt, theirs, step.t)
        xt = step.xt
    assert step.index == 12


@pytest.mark.parametrize("count", [1, 2, 3, 17, 400, 999, 1000])
@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2", "jsd", "sigmoid"])
def test_steps_even_in_log_snr_begin_at_T_minus_1_and_are_as_many_as_asked_for(schedule, count):
    abar = Diffusion(named_betas(schedule, 1000), "v_prediction").abar
    steps = log_snr_timesteps(abar, count)
    assert len(set(steps)) == count and steps == sorted(steps) and steps[-1] == 999 and steps[0] >= 0
    if 3 < count < 20 and schedule in PAPERS:
        gaps = log_signal_to_noise(abar)[steps[:-1]].diff()
        assert float(gaps.min() / gaps.max()) > 0.8


@pytest.mark.parametrize("count", [0, 1001])
def test_more_steps_than_there_are_are_refused(count):
    with pytest.raises(ValueError, match=f"from 1 to 1000 .* not {count}"):
        log_snr_timesteps(whole_chain().abar, count)


@pytest.mark.parametrize("clip", [True, False])
def test_ddim_with_eta_1_is_ancestral_sampling_with_the_small_variance(clip):
    diffusion = whole_chain("squaredcos_cap_v2", "fixed_small")
    model = finite_set(noise_from(1, (4, *SHAPE[1:]))().clamp(-1, 1), diffusion.abar)
    short, xT = diffusion.respaced(spaced_timesteps(1000, 30)), noise_from(2, dtype=torch.float64)()
    ancestral = ddpm(model, short, xT, noise_from(9, dtype=torch.float64), clip=clip)
    implicit = ddim(model, short, xT, noise_from(9, dtype=torch.float64), eta=1.0, clip=clip)
    for a, b in zip(ancestral, implicit, strict=True):
        torch.testing.assert_close(a.xt, b.xt, rtol=1e-8, atol=1e-8)


def zero_model(xt, t):
    return torch.zeros_like(xt)


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_yield_every_step_from_T_minus_1_down_to_0(name):
    short = whole_chain().respaced(spaced_timesteps(1000, 7))
    steps = list(SAMPLERS[name](zero_model, short, noise_from(2)(), noise_from(9)))
    assert [step.t for step in steps] == spaced_timesteps(1000, 7)[::-1]
    assert steps[0].t == 999 and steps[-1].t == 0
    assert [step.index for step in steps] == list(range(1, 8)) and {step.total for step in steps} == {7}
    assert all(step.xt.shape == step.x0.shape == SHAPE for step in steps)
    assert torch.equal(steps[-1].xt, steps[-1].x0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_alone_starts_at_T_minus_1_and_ends_at_the_predicted_x0(name):
    short = whole_chain().respaced(spaced_timesteps(1000, 1))
    (step,) = SAMPLERS[name](zero_model, short, noise_from(2)(), noise_from(9))
    assert step.t == 999
    torch.testing.assert_close(step.xt, step.x0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_network_is_told_the_original_timesteps_one_for_each_row(name):
    timesteps = []

    def model(xt, t):
        timesteps.append(t)
        return torch.zeros_like(xt)

    short = whole_chain().respaced([3, 70, 998])
    list(SAMPLERS[name](model, short, noise_from(2)(), noise_from(9)))
    assert [t.tolist() for t in timesteps] == [[998, 998], [70, 70], [3, 3]]
    assert all(t.dtype == torch.int64 for t in timesteps)


@pytest.mark.parametrize(("name", "settings"), [("ddpm", {}), ("ddim", {"eta": 0.5}), ("dpm_solver", {"eta": 0.5})])
def test_noise_is_drawn_once_for_every_step_but_the_last(name, settings):
    draw, calls = noise_from(9), []

    def noise():
        calls.append(1)
        return draw()

    list(
        SAMPLERS[name](
            zero_model, whole_chain().respaced(spaced_timesteps(1000, 7)), noise_from(2)(), noise, **settings
        )
    )
    assert len(calls) == 6


@pytest.mark.parametrize("name", SAMPLERS)
def test_leaving_the_loop_early_stops_the_work(name):
    calls = []

    def model(xt, t):
        calls.append(int(t[0]))
        return torch.zeros_like(xt)

    steps = SAMPLERS[name](model, whole_chain(), noise_from(2)(), noise_from(9))
    for step in steps:
        if step.index == 3:
            break
    steps.close()
    assert calls == [999, 998, 997]


@pytest.mark.parametrize("name", SAMPLERS)
def test_steps_already_seen_do_not_change_when_the_sampler_goes_on(name):
    steps, kept = [], []
    for step in SAMPLERS[name](
        zero_model, whole_chain().respaced(spaced_timesteps(1000, 5)), noise_from(2)(), noise_from(9)
    ):
        steps.append(step)
        kept.append(step.xt.clone())
    assert all(torch.equal(step.xt, copy) for step, copy in zip(steps, kept, strict=True))


@pytest.mark.parametrize(
    ("name", "settings"),
    [("ddpm", {}), ("ddim", {}), ("ddim", {"eta": 0.7}), ("dpm_solver", {}), ("dpm_solver", {"eta": 0.7})],
)
def test_rows_of_a_batch_do_not_touch_each_other(name, settings):
    diffusion = whole_chain()
    model = finite_set(noise_from(1, (4, *SHAPE[1:]))().clamp(-1, 1), diffusion.abar)
    short, xT = diffusion.respaced(spaced_timesteps(1000, 10)), noise_from(2, dtype=torch.float64)()
    draws = [noise_from(20 + i, SHAPE, torch.float64)() for i in range(9)]

    def run(rows):
        remaining = iter(draws)
        return list(SAMPLERS[name](model, short, xT[rows], lambda: next(remaining)[rows], **settings))[-1].xt

    together = run(slice(None))
    for row in range(2):
        torch.testing.assert_close(run(slice(row, row + 1)), together[row : row + 1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SAMPLERS)
def test_conditions_are_handed_to_the_network(name):
    labels_received = []

    def model(xt, t, class_labels):
        labels_received.append(class_labels)
        return torch.zeros_like(xt)

    labels = torch.tensor([1, 0])
    list(SAMPLERS[name](model, whole_chain().respaced([0, 999]), noise_from(2)(), noise_from(9), class_labels=labels))
    assert len(labels_received) == 2 and all(received is labels for received in labels_received)


def test_the_dpm_solver_carries_x0_on_from_its_third_step_only():
    """For a network with a different x_0 in every step, each step equals the explicit formula."""
    diffusion = Diffusion(named_betas("squaredcos_cap_v2", 1000), "sample", "fixed_small")
    kept = [30, 200, 500, 800, 999]
    answers = iter([noise_from(seed, dtype=torch.float64)() for seed in range(20, 25)])
    steps = list(
        dpm_solver(
            lambda xt, t: next(answers),
            diffusion.respaced(kept),
            noise_from(2, dtype=torch.float64)(),
            noise_from(9),
            clip=False,
        )
    )
    alpha, sigma = diffusion.abar[kept].sqrt().numpy()[::-1], (1 - diffusion.abar[kept]).sqrt().numpy()[::-1]
    half_log_snr = np.log(alpha / sigma)
    xt, x0 = noise_from(2, dtype=torch.float64)(), [step.x0 for step in steps]
    for i, h in enumerate(np.diff(half_log_snr)):
        carried = x0[i] if i < 2 else x0[i] + h / (2 * (half_log_snr[i] - half_log_snr[i - 1])) * (x0[i] - x0[i - 1])
        xt = sigma[i + 1] / sigma[i] * xt + alpha[i + 1] * (1 - np.exp(-h)) * carried
        torch.testing.assert_close(steps[i].xt, xt)
    assert torch.equal(steps[4].xt, x0[4])


def step_function(name):
    return {"ddpm": ddpm_step, "ddim": ddim_step, "dpm_solver": dpm_solver_step}[name]


@pytest.mark.parametrize(("name", "settings"), [("ddpm", {}), ("ddim", {"eta": 0.7}), ("dpm_solver", {"eta": 0.7})])
def test_single_steps_taken_by_hand_are_the_sampler(name, settings):
    short = whole_chain("squaredcos_cap_v2").respaced(spaced_timesteps(1000, 6))
    model, noise = finite_set(noise_from(1, (4, *SHAPE[1:]))().clamp(-1, 1), whole_chain().abar), noise_from(9)
    xt, x0 = noise_from(2)(), None
    for step in SAMPLERS[name](model, short, xt, noise_from(9), **settings):
        t = step.total - step.index
        history = [x0 if step.index > 2 else None] if name == "dpm_solver" else []
        alone = step_function(name)(model, short, xt, t, noise, *history, **settings)
        assert torch.equal(alone.xt, step.xt) and torch.equal(alone.x0, step.x0)
        assert (alone.t, alone.t_reached, alone.index, alone.total) == (step.t, step.t_reached, step.index, step.total)
        xt, x0 = alone.xt, alone.x0


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("t", [-1, 7])
def test_a_step_outside_the_chain_is_refused(name, t):
    short = whole_chain().respaced(spaced_timesteps(1000, 7))
    with pytest.raises(IndexError):
        step_function(name)(zero_model, short, noise_from(2)(), t, noise_from(9))


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("name", [*SAMPLERS, "ddim_encode"])
def test_denoised_fn_changes_x0_before_it_is_clipped(name, clip):
    seen, short = [], whole_chain().respaced(spaced_timesteps(1000, 3))

    def halved(x0):
        seen.append(x0)
        return x0 / 2

    arguments = (zero_model, short, noise_from(2)())
    if name == "ddim_encode":
        step = next(ddim_encode(*arguments, clip=clip, denoised_fn=halved))
    else:
        step = next(SAMPLERS[name](*arguments, noise_from(9), clip=clip, denoised_fn=halved))
    assert seen[0].abs().max() > 2, "it gets x0 before clipping"
    assert torch.equal(step.x0, (seen[0] / 2).clamp(-1, 1) if clip else seen[0] / 2)


def test_denoised_fn_that_changes_the_shape_is_refused():
    with pytest.raises(ValueError, match="the result of denoised_fn must have shape"):
        whole_chain().p(noise_from(1)(), noise_from(2)(), 5, denoised_fn=lambda x0: x0[:1])


def zero_terminal_snr_twice():
    return torch.cat([named_betas("jsd", 40), torch.ones(2, dtype=torch.float64)])


@pytest.mark.parametrize("prediction_type", ["sample", "v_prediction"])
@pytest.mark.parametrize("betas", [named_betas("jsd", 40), zero_terminal_snr_twice()], ids=["once", "thrice"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_is_defined_where_the_chain_ends_in_pure_noise(name, eta, betas, prediction_type):
    """The oracle of one image ends on that image, whatever abar_T."""
    chain = Diffusion(betas, prediction_type, "fixed_small")
    image = noise_from(1, dtype=torch.float64)().clamp(-1, 1)

    def model(xt, t):
        i = int(t[0])
        return image if prediction_type == "sample" else chain.v_from_x0_eps(image, i, chain.eps_from_x0(xt, i, image))

    settings = {} if name == "ddpm" else {"eta": eta}
    xT, noise = noise_from(2, dtype=torch.float64)(), noise_from(9, dtype=torch.float64)
    *_, last = SAMPLERS[name](model, chain, xT, noise, **settings)
    torch.testing.assert_close(last.xt, image)


def test_from_pure_noise_the_deterministic_solver_takes_the_first_step_of_ddim():
    chain = Diffusion(named_betas("jsd", 1000), "v_prediction").respaced(spaced_timesteps(1000, 5))
    model = lambda xt, t: 0.3 * xt  # noqa: E731
    solver, implicit = (next(sampler(model, chain, noise_from(2)(), noise_from(9))) for sampler in (dpm_solver, ddim))
    torch.testing.assert_close(solver.xt, implicit.xt)


@pytest.mark.parametrize("betas", [[0.5] * 2000, [1e-17, 0.5], [0.5, 1.0]])
def test_chains_that_float32_or_float64_cannot_represent_are_refused(betas):
    with pytest.raises(ValueError, match=r"abar_T is 0|below 1"):
        Diffusion(torch.tensor(betas, dtype=torch.float64), "epsilon")
