"""Classifier-free guidance and classifier guidance, on models with known output."""

import pytest
import torch

from diffusion_demo.diffusion.denoiser import WithinInterval, at_index
from diffusion_demo.diffusion.guidance import classifier_free, classifier_gradient, shift_eps, shift_mean
from diffusion_demo.diffusion.oracles import finite_set
from diffusion_demo.diffusion.process import Diffusion, Reverse
from diffusion_demo.diffusion.samplers import SAMPLERS, ddim_encode
from diffusion_demo.diffusion.schedules import linear_betas, named_betas
from diffusion_demo.diffusion.timesteps import spaced_timesteps

NULL = 3


def model(xt, t, class_labels):
    """Return two prediction channels and two variance channels that depend on the class."""
    labels = class_labels.float().reshape(-1, 1, 1, 1)
    return torch.cat([xt + 10 * labels, 100 + labels.expand_as(xt)], dim=1)


def test_guidance_goes_from_the_null_class_past_the_class_and_takes_the_variance_of_the_class():
    xt, t, labels = (
        torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0)),
        torch.tensor([5, 5]),
        torch.tensor([0, 2]),
    )
    named, null = model(xt, t, labels), model(xt, t, torch.full_like(labels, NULL))
    for scale in (0.0, 0.5, 1.0, 3.0):
        guided = classifier_free(model, scale, NULL, 2)(xt, t, class_labels=labels)
        torch.testing.assert_close(
            guided[:, :2], (1 - scale) * null[:, :2] + scale * named[:, :2], rtol=1e-5, atol=1e-4
        )
        assert torch.equal(guided[:, 2:], named[:, 2:])


def test_guidance_of_1_costs_no_second_call():
    assert classifier_free(model, 1.0, NULL, 2) is model


def two_points():
    points = torch.tensor([[-0.6, 0.2], [0.5, -0.1]], dtype=torch.float64).reshape(2, 1, 1, 2)
    diffusion = Diffusion(named_betas("linear", 100), variance_type="fixed_large")

    def classifier(x, t):
        """Return the exact log p(y | x_t) for the two points, up to a constant."""
        abar = diffusion.abar[t].reshape(-1, 1)
        distance = (x.flatten(1).unsqueeze(1) - abar.sqrt().unsqueeze(2) * points.flatten(1)) ** 2
        return -distance.sum(2) / (2 * (1 - abar))

    return points, diffusion, classifier


@pytest.mark.parametrize("t", [0, 1, 50, 99])
def test_the_exact_classifier_turns_the_unconditional_model_into_the_conditional_one(t):
    points, diffusion, classifier = two_points()
    xt, times = (
        torch.randn(5, 1, 1, 2, generator=torch.Generator().manual_seed(t), dtype=torch.float64),
        torch.full((5,), t),
    )
    labels = torch.tensor([0, 1, 1, 0, 1])
    p = diffusion.p(finite_set(points, diffusion.abar)(xt, times), xt, t, clip=False)
    shifted = shift_eps(diffusion, p, xt, t, classifier_gradient(classifier, labels, 1.0)(xt, times))
    torch.testing.assert_close(shifted.x0, points[labels], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(shifted.eps, diffusion.eps_from_x0(xt, t, points[labels]), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", SAMPLERS)
def test_guided_sampling_ends_on_the_class_asked_for_and_scale_0_is_off(name):
    points, diffusion, classifier = two_points()
    oracle, labels = finite_set(points, diffusion.abar), torch.tensor([0, 1] * 8)

    def run(**options):
        generator = torch.Generator().manual_seed(3)
        noise = lambda: torch.randn(16, 1, 1, 2, generator=generator, dtype=torch.float64)  # noqa: E731
        *_, last = SAMPLERS[name](oracle, diffusion, noise(), noise, clip=False, **options)
        return last.xt

    guided = run(gradient=classifier_gradient(classifier, labels, 3.0))
    assert (guided - points[labels]).abs().max() < 0.1
    torch.testing.assert_close(run(gradient=classifier_gradient(classifier, labels, 0.0)), run())
    assert (run() - points[labels]).abs().max() > 0.3


def test_the_ancestral_mean_moves_by_the_variance_times_the_gradient_and_x0_stays():
    mean, variance, gradient = (torch.full((1, 1, 1, 1), value) for value in (1.0, 0.5, 3.0))
    p = Reverse(mean, variance, variance.log(), mean, mean)
    assert float(shift_mean(p, gradient).mean) == 2.5 and shift_mean(p, gradient).x0 is p.x0


def test_outside_its_interval_guidance_is_off():
    def model(xt, t, class_labels):
        return torch.where(class_labels.reshape(-1, 1, 1, 1) == 5, -xt, xt)

    guided = classifier_free(model, 3.0, null_class=5, channels=1, interval=(10, 20))
    xt, labels = torch.ones(2, 1, 1, 1), torch.tensor([0, 1])
    for t, expected in ((9, 1.0), (10, 5.0), (20, 5.0), (21, 1.0)):
        assert (guided(xt, torch.full((2,), t), class_labels=labels) == expected).all()


@pytest.mark.parametrize("time_scale", [1.0, 10.0])
def test_the_interval_means_the_timesteps_that_the_network_gets_also_on_a_respaced_chain(time_scale):
    chain = Diffusion(linear_betas(100), time_scale=time_scale).respaced(range(0, 100, 7))
    xt = torch.ones(2, 1, 1, 1)
    switched = WithinInterval((7, 300), lambda xt, t: xt, lambda xt, t: -xt)
    applies = [bool((at_index(switched, chain, t)(xt, chain.model_timesteps(t, xt)) == 1).all()) for t in range(15)]
    assert applies == [bool((switched(xt, chain.model_timesteps(t, xt)) == 1).all()) for t in range(15)]
    assert applies == [7 <= 7 * t * time_scale <= 300 for t in range(15)] and any(applies) and not all(applies)


def test_what_cannot_be_guided_is_refused_with_a_sentence():
    with pytest.raises(ValueError, match="null class"):
        classifier_free(model, 2.0, None, 2)
    assert classifier_free(model, 1.0, None, 2) is model
    points, diffusion, classifier = two_points()
    gradient = classifier_gradient(classifier, torch.tensor([0, 1]), 1.0)
    with pytest.raises(ValueError, match="cannot be encoded"):
        next(ddim_encode(finite_set(points, diffusion.abar), diffusion, points, gradient=gradient))


@pytest.mark.parametrize("name", SAMPLERS)
def test_both_guidances_compose_with_each_other_and_with_a_learned_variance(name):
    """Sampling with an exact classifier at scale 1 and classifier-free guidance at scale 1.5 ends at the class."""
    points, diffusion, classifier = two_points()
    chain = Diffusion(diffusion.betas, variance_type="learned_range")
    both, each = finite_set(points, diffusion.abar), [finite_set(points[i : i + 1], diffusion.abar) for i in range(2)]

    def network(xt, t, class_labels):
        named = torch.stack([each[i](xt, t) for i in range(2)])[class_labels.clamp(max=1), torch.arange(len(xt))]
        eps = torch.where((class_labels == 2).reshape(-1, 1, 1, 1), both(xt, t), named)
        return torch.cat([eps, torch.zeros_like(eps)], dim=1)

    labels, generator = torch.tensor([0, 1] * 8), torch.Generator().manual_seed(3)
    noise = lambda: torch.randn(16, 1, 1, 2, generator=generator, dtype=torch.float64)  # noqa: E731
    guided = classifier_free(network, 1.5, null_class=2, channels=1)
    gradient = classifier_gradient(classifier, labels, 1.0)
    *_, last = SAMPLERS[name](guided, chain, noise(), noise, clip=False, gradient=gradient, class_labels=labels)
    assert (last.xt - points[labels]).abs().max() < 0.1


def constant_gradient(xt, t):
    return torch.full_like(xt, 2.0)


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("t", [0, 1, 500, 999])
def test_shift_eps_moves_x0_eps_and_the_mean_together(schedule, t):
    diffusion = Diffusion(named_betas(schedule, 1000), "epsilon", "learned_range")
    xt = torch.randn(3, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(t))
    p = diffusion.p(torch.cat([0.9 * xt, xt], dim=1), xt, t)
    shifted = shift_eps(diffusion, p, xt, t, constant_gradient(xt, t))
    torch.testing.assert_close(shifted.x0, diffusion.x0_from_eps(xt, t, shifted.eps), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(shifted.eps, p.eps - (1 - diffusion.abar[t]).sqrt() * 2)
    torch.testing.assert_close(shifted.mean, diffusion.q_posterior(shifted.x0, xt, t).mean)
    assert (shifted.mean - p.mean).abs().max() > 0 and shifted.variance is p.variance


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
def test_a_gradient_of_zero_changes_nothing_to_the_bit(schedule):
    diffusion = Diffusion(named_betas(schedule, 1000))
    xt = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for t in (0, 500, 999):
        p = diffusion.p(0.95 * xt, xt, t)
        shifted = shift_eps(diffusion, p, xt, t, torch.zeros_like(xt))
        assert all(torch.equal(a, b) for a, b in zip(shifted, p, strict=True)), t


@pytest.mark.parametrize("prediction_type", ["sample", "v_prediction"])
def test_where_x_t_is_pure_noise_the_classifier_changes_nothing(prediction_type):
    diffusion = Diffusion(named_betas("jsd", 50), prediction_type)
    xt = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    p = diffusion.p(0.5 * xt, xt, 49)
    shifted = shift_eps(diffusion, p, xt, 49, constant_gradient(xt, 49))
    assert all(torch.equal(a, b) for a, b in zip(shifted, p, strict=True))


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large"])
@pytest.mark.parametrize("eta", [0.0, 0.5])
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_x0_of_a_guided_step_is_the_one_that_its_xt_was_made_from(name, eta, variance_type, clip):
    """From x0 and the x_t before alone, each step's xt follows; the last step's x0 is its xt."""
    chain = Diffusion(named_betas("linear", 1000), variance_type=variance_type).respaced(spaced_timesteps(1000, 6))
    generator, drawn = torch.Generator().manual_seed(0), []

    def noise():
        drawn.append(torch.randn(2, 1, 4, 4, generator=generator, dtype=torch.float64))
        return drawn[-1]

    options = {} if name == "ddpm" else {"eta": eta}
    xt, model = noise(), lambda xt, t: 0.8 * xt
    steps = list(SAMPLERS[name](model, chain, xt, noise, clip=clip, gradient=constant_gradient, **options))
    assert torch.equal(steps[-1].x0, steps[-1].xt)
    for step, before in list(zip(steps[:-1], [xt, *(step.xt for step in steps)], strict=False)):
        i, z = step.total - step.index, drawn[step.index] if len(drawn) > 1 else 0
        if name == "ddpm":
            p = chain.p(model(before, i), before, i, clip)
            expected = chain.q_posterior(step.x0, before, i).mean + p.variance * 2 + (0.5 * p.log_variance).exp() * z
        elif name == "ddim" or (eta == 0 and step.index < 3):  # the first orders of ddim and dpm_solver are the same
            eps = chain.eps_from_x0(before, i, step.x0)
            sigma = eta * chain.posterior_variance[i].sqrt()
            direction = (1 - chain.abar_prev[i] - sigma**2).clamp(min=0).sqrt()
            expected = chain.abar_prev[i].sqrt() * step.x0 + direction * eps + sigma * z
        else:
            continue
        torch.testing.assert_close(step.xt, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["ddim", "dpm_solver"])
def test_the_x0_of_a_guided_step_is_guided(name):
    chain = Diffusion(named_betas("linear", 1000))
    xt = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    guided, plain = (
        next(SAMPLERS[name](lambda xt, t: 0.9 * xt, chain, xt, lambda: xt, clip=False, **options)).x0
        for options in ({"gradient": constant_gradient}, {})
    )
    torch.testing.assert_close(guided - plain, ((1 - chain.abar) / chain.abar.sqrt())[999] * constant_gradient(xt, 999))
