"""Panels of the Inspect tab compared with the equations they show, for the bundled model and an oracle."""

import io
import json
import math
import re
from dataclasses import replace

import pytest
import torch
from PIL import Image, ImageSequence

from diffusion_demo.diffusion.denoiser import call_model
from diffusion_demo.diffusion.losses import decoder_term, kl_term
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.paths import CHECKPOINTS
from diffusion_demo.ui.inspect import panels
from diffusion_demo.ui.inspect.panels import back, bound, decoder, guidance, markov, training
from diffusion_demo.ui.inspect.panels.scene import load_scene

FACE = CHECKPOINTS / "avatars-32" / "showcase"


@pytest.fixture(scope="module")
def scene():
    first, second = sorted(FACE.glob("seed_*.png"))[:2]
    return load_scene(first, second, 7, 0.3, load_checkpoint(CHECKPOINTS / "avatars-32"))


@pytest.fixture(scope="module")
def oracle_scene(scene):
    return replace(scene, checkpoint=load_checkpoint("oracle-memory"))


def numbers(html, css_class):
    """Return the numbers in the element of this class."""
    match = re.search(f'<b class="{css_class}">(.*?)</b>', html)
    assert match
    return [float(number) for number in re.findall(r"[\d.]+(?:e-\d+)?", match.group(1))]


def at(scene, t):
    return replace(scene, t=t)


@pytest.mark.parametrize("t", [1, 300, 1000])
@pytest.mark.parametrize("panel", panels.TITLES)
def test_every_panel_is_complete_at_both_ends_of_the_chain(scene, panel, t):
    if panel == "bound" and t != 300:
        pytest.skip("the bound does not depend on t")
    html = panels.show(panel, at(scene, t))
    assert (
        "<math" in html
        and ("<img" in html or "<svg" in html)
        and "nan" not in re.sub(r'"data:[^"]*"', "", html).lower()
    )


@pytest.mark.parametrize("panel", panels.TITLES)
@pytest.mark.parametrize("model", ["oracle-memory", "oracle-pixels"])
def test_every_panel_works_with_an_oracle(scene, panel, model):
    assert "<math" in panels.show(panel, replace(scene, checkpoint=load_checkpoint(model)))


def test_moments_of_the_chain_agree_with_the_closed_form(scene):
    for x0, mean, mean_error, exact_mean, variance, variance_error, exact_variance in markov.compare_moments(
        at(scene, 400)
    ):
        assert exact_mean == pytest.approx(
            scene.chain.abar[399].sqrt().item() * x0
        ) and exact_variance == pytest.approx(1 - scene.chain.abar[399].item())
        assert (
            abs(mean - exact_mean) < 4.5 * mean_error
            and abs(variance - exact_variance) < 4.5 * variance_error
            and variance_error < 0.03 * exact_variance
        )


def test_the_animation_contains_its_settings(scene):
    with Image.open(io.BytesIO(markov.animation(at(scene, 50), {"chain": "cosine"}))) as moving:
        assert 30 <= len(ImageSequence.all_frames(moving)) <= 40 and moving.size == (256, 256), (
            "equal frames are merged"
        )
        assert json.loads(moving.getexif()[0x010E]) == {"chain": "cosine", "t": 50, "seed": 7}
    with Image.open(io.BytesIO(markov.animation(at(scene, 1), {}))) as short:
        assert short.size == (256, 256)


def test_the_cost_of_a_step_equals_the_loss_term(scene):
    for t in (1, 2, 500):
        here = at(scene, t)
        with torch.no_grad():
            output = call_model(here.model, here.chain, here.xt, t - 1, **here.labels(1))
        p = here.chain.p(output, here.xt, t - 1)
        wanted = kl_term(here.chain.q_posterior(here.x0, here.xt, t - 1), p) if t > 1 else decoder_term(p, here.x0)
        assert numbers(panels.show("reverse", here), "bits")[0] == pytest.approx(float(wanted), rel=0.01)


def test_the_estimated_loss_is_plausible_and_shown(scene):
    mean, error = training.estimate_loss(at(scene, 500))
    assert 0 < mean < 0.2 and error < mean
    assert numbers(panels.show("training", at(scene, 500)), "simple") == [
        pytest.approx(mean, abs=1e-4),
        pytest.approx(error, abs=1e-4),
    ]


def test_pixel_probabilities_are_a_distribution():
    for mean, log_variance in ((0.1, -8.0), (-1.0, -6.0), (0.999, -3.0)):
        probability = decoder.pixel_probabilities(mean, log_variance)
        assert float(probability.sum()) == pytest.approx(1, abs=1e-6)
        assert abs(int(probability.argmax()) - (mean + 1) * 127.5) <= 1


def test_the_terms_add_up_to_the_bound_and_an_oracle_needs_fewer_bits(scene, oracle_scene):
    totals = []
    for one in (scene, oracle_scene):
        terms = list(bound.compute_terms(one, 10))
        assert (
            len(terms) == 10
            and [t for t, _ in terms] == sorted((t for t, _ in terms), reverse=True)
            and terms[-1][0] == 1
        )
        totals.append(numbers(bound.render(one, terms, 10), "total")[0])
        assert totals[-1] == pytest.approx(sum(bits for _, bits in terms), abs=1e-3)
    assert totals[1] < totals[0]


def test_the_spot_selects_a_pixel(scene):
    assert [replace(scene, spot=spot).pixel for spot in ((0, 0), (0.5, 0.25), (1, 1))] == [
        (0, 0, 0, 0),
        (0, 0, 8, 16),
        (0, 0, 31, 31),
    ]
    value = round((float(scene.x0[0, 0, 8, 16]) + 1) * 127.5)
    assert f"The chosen pixel is <b>{value}</b>" in decoder.show(replace(scene, spot=(0.5, 0.25)))


def test_an_unfinished_bound_shows_no_total(scene):
    terms = list(bound.compute_terms(scene, 10))
    assert "total" not in bound.render(scene, terms[:4], 10) and "4 of 10 steps" in bound.render(scene, terms[:4], 10)


def test_ddim_inverts_its_encoding(scene):
    decoded, error = back.ddim_round_trip(scene)
    assert error == pytest.approx(127.5 * math.sqrt(float((decoded.clamp(-1, 1) - scene.x0).square().mean())))
    distance_between_images = 127.5 * math.sqrt(float((scene.other - scene.x0).square().mean()))
    finer = back.ddim_round_trip(scene, num_steps=100)[1]
    assert finer < error < distance_between_images
    assert scene.respaced_from_t(5).timesteps.tolist()[-1] == scene.index and len(at(scene, 3).respaced_from_t(12)) == 3


def test_guidance_has_a_direction_for_every_class(scene):
    difference, strength = guidance.guidance_directions(at(scene, 600))
    metadata = scene.checkpoint.description
    assert len(difference) == len(strength) == len(metadata.class_names) and bool((strength > 0).all())
    assert "no classes" in guidance.show(replace(scene, checkpoint=load_checkpoint("oracle-memory")))


def test_every_panel_works_with_an_unconditional_grayscale_model(trained_checkpoint, tmp_path):
    Image.new("RGBA", (40, 20), (200, 10, 10, 128)).save(tmp_path / "a.png")
    here = load_scene(tmp_path / "a.png", tmp_path / "a.png", 0, 1.0, load_checkpoint(trained_checkpoint))
    assert here.x0.shape == (1, 1, 16, 16) and here.t == 100
    for panel in panels.TITLES:
        assert "<math" in panels.show(panel, here)
