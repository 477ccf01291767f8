"""Variations of one image and interpolations between two, on models with known results."""

from dataclasses import replace

import pytest
import torch

from diffusion_demo.errors import BadInput
from diffusion_demo.images import to_float
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.sampling.generate import last_step
from diffusion_demo.sampling.variations import Variation, mix, settings_of, vary

VARIATION = Variation(num_images=3, how_far=30, steps=6, seed=11, precision="fp32")


@pytest.fixture(scope="module")
def memory():
    return load_checkpoint("oracle-memory")


@pytest.fixture(scope="module")
def known(memory):
    """Two of the sixteen images of the memorizing oracle, each float [1, C, S, S]."""
    from diffusion_demo.sampling.generate import sample
    from diffusion_demo.sampling.request import Request

    images = last_step(sample(memory, Request(num_images=8, steps=20, precision="fp32"))).xt
    distances = (images[:1] - images[1:]).square().mean((1, 2, 3))
    return images[:1], images[1 + int(distances.argmax())][None]


def final_images(steps):
    return last_step(steps).xt


def test_little_noise_keeps_the_image_and_full_noise_replaces_it(memory, known):
    near = final_images(vary(memory, known[0], replace(VARIATION, how_far=20)))
    far = final_images(vary(memory, known[0], replace(VARIATION, how_far=100, num_images=8, steps=20)))
    assert (near - known[0]).abs().max() < 0.02
    assert (far - known[0]).abs().amax((1, 2, 3)).max() > 0.5


def test_variation_i_depends_on_its_own_seed_alone(checkpoint):
    x0 = torch.rand(1, 3, 16, 16) * 2 - 1
    together = final_images(vary(checkpoint, x0, VARIATION))
    alone = final_images(vary(checkpoint, x0, replace(VARIATION, num_images=1, seed=VARIATION.seed + 2)))
    torch.testing.assert_close(together[2:], alone, rtol=0, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0.1


def test_the_ends_of_an_interpolation_are_the_two_images(memory, known):
    a, b = known
    between = final_images(mix(memory, a, b, replace(VARIATION, num_images=5, how_far=20)))
    assert (between[0] - a).abs().max() < 0.02 and (between[-1] - b).abs().max() < 0.02


def test_sampling_starts_at_the_level_and_takes_the_given_steps(checkpoint):
    steps = list(vary(checkpoint, torch.zeros(1, 3, 16, 16), VARIATION))
    assert (steps[0].t, steps[-1].t_reached, len(steps)) == (299, -1, 6)
    first = list(vary(checkpoint, torch.zeros(1, 3, 16, 16), replace(VARIATION, how_far=0.1, steps=25)))
    assert [step.t for step in first] == [0]


def test_the_class_and_its_guidance_matter(checkpoint):
    x0 = to_float(torch.full((1, 3, 16, 16), 200, dtype=torch.uint8))
    plain, one, guided = (
        final_images(vary(checkpoint, x0, replace(VARIATION, how_far=80, **c)))
        for c in ({}, {"class_index": 1}, {"class_index": 1, "guidance_scale": 4.0})
    )
    assert not torch.equal(plain, one) and not torch.equal(one, guided)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"how_far": 0}, "How far"),
        ({"how_far": float("nan")}, "How far"),
        ({"steps": 1001}, "Steps must be from 1 to 1000"),
        ({"seed": -1}, "seed"),
        ({"class_index": 9}, "no class 9"),
        ({"num_images": 0}, "at least 1"),
    ],
)
def test_invalid_settings_are_rejected(checkpoint, changes, message):
    with pytest.raises(BadInput, match=message):
        next(vary(checkpoint, torch.zeros(1, 3, 16, 16), replace(VARIATION, **changes)))


def test_mixing_needs_two_images(checkpoint):
    with pytest.raises(BadInput, match="at least 2"):
        next(mix(checkpoint, torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16), replace(VARIATION, num_images=1)))


def test_a_short_chain_can_be_used_in_full():
    variation = Variation(how_far=100, steps=100)
    variation.check(CheckpointMetadata(16, 1, 100))
    assert variation.level(100) == 99 and Variation(how_far=1).level(100) == 0


def test_the_settings_name_the_sources_one_level_deep(checkpoint):
    source = {"seed": 3, "made_by": "vary", "of": [{"seed": 2}]}
    settings = settings_of(replace(VARIATION, class_index=1), "model", checkpoint, "interpolate", [source, None])
    assert [one["seed"] for one in settings] == [11, 12, 13] and [one["index"] for one in settings] == [0, 1, 2]
    assert settings[0]["of"] == [{"seed": 3, "made_by": "vary"}, None]
    assert settings[0]["class"] == checkpoint.description.class_names[1]


def test_a_network_that_returns_nan_is_reported(random_checkpoint):
    broken, image = load_checkpoint(random_checkpoint), torch.zeros(1, 3, 16, 16)
    torch.nn.init.constant_(broken.unet.get_parameter("conv_out.bias"), float("nan"))
    for steps in (vary(broken, image, VARIATION), mix(broken, image, image, VARIATION)):
        with pytest.raises(BadInput, match="NaN or infinite"):
            last_step(steps)
