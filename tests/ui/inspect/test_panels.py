"""The panels of the Inspect tab against the mathematics that they show, on the bundled model and on a perfect one."""

import io
import json
import math
import re
from dataclasses import replace

import pytest
import torch
from PIL import Image

from diffusion_demo.diffusion.losses import decoder_term, kl_term
from diffusion_demo.diffusion.process import call_model
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.ui.inspect import panels
from diffusion_demo.ui.inspect.panels import back, bound, decoder, guidance, markov, training
from diffusion_demo.ui.inspect.panels.scene import scene_of
from diffusion_demo.ui.server import model_list

FACE = model_list.ROOT / "checkpoints" / "avatars-32" / "showcase"


@pytest.fixture(scope="module")
def scene():
    first, second = sorted(FACE.glob("seed_*.png"))[:2]
    return scene_of(first, second, 7, 0.3, load_checkpoint(model_list.ROOT / "checkpoints" / "avatars-32"))


@pytest.fixture(scope="module")
def perfect(scene):
    return replace(scene, checkpoint=load_checkpoint("oracle-memory"))


def numbers(html, css_class):
    return [
        float(number)
        for number in re.findall(r"[\d.]+(?:e-\d+)?", re.search(f'<b class="{css_class}">(.*?)</b>', html).group(1))
    ]


def at(scene, t):
    return replace(scene, t=t)


@pytest.mark.parametrize("t", [1, 300, 1000])
@pytest.mark.parametrize("panel", panels.TITLES)
def test_every_panel_shows_something_at_every_end_of_the_chain_and_no_value_is_missing(scene, panel, t):
    if panel == "bound" and t != 300:
        pytest.skip("it is the same at every t")
    html = panels.show(panel, at(scene, t))
    assert (
        "<math" in html
        and ("<img" in html or "<svg" in html)
        and "nan" not in re.sub(r'"data:[^"]*"', "", html).lower()
    )


@pytest.mark.parametrize("panel", panels.TITLES)
@pytest.mark.parametrize("model", ["oracle-memory", "oracle-pixels"])
def test_every_panel_works_with_a_perfect_model(scene, panel, model):
    assert "<math" in panels.show(panel, replace(scene, checkpoint=load_checkpoint(model)))


def test_the_walked_and_the_jumped_noise_agree_within_their_errors(scene):
    for x0, mean, mean_error, closed, variance, variance_error, wanted in markov.agreement(at(scene, 400)):
        assert closed == pytest.approx(scene.chain.abar[399].sqrt().item() * x0) and wanted == pytest.approx(
            1 - scene.chain.abar[399].item()
        )
        assert (
            abs(mean - closed) < 4.5 * mean_error
            and abs(variance - wanted) < 4.5 * variance_error
            and variance_error < 0.03 * wanted
        )


def test_the_walk_is_an_animation_that_knows_its_settings(scene):
    with Image.open(io.BytesIO(markov.animation(at(scene, 50), {"chain": "cosine"}))) as moving:
        assert 30 <= moving.n_frames <= 40 and moving.size == (256, 256), "frames that look the same are one"
        assert json.loads(moving.getexif()[0x010E]) == {"chain": "cosine", "t": 50, "seed": 7}
    with Image.open(io.BytesIO(markov.animation(at(scene, 1), {}))) as short:
        assert short.size == (256, 256)


def test_the_cost_of_a_step_is_the_cores(scene):
    for t in (1, 2, 500):
        here = at(scene, t)
        with torch.no_grad():
            output = call_model(here.model, here.chain, here.xt, t - 1, **here.labels(1))
        p = here.chain.p(output, here.xt, t - 1)
        wanted = kl_term(here.chain.q_posterior(here.x0, here.xt, t - 1), p) if t > 1 else decoder_term(p, here.x0)
        assert numbers(panels.show("reverse", here), "bits")[0] == pytest.approx(float(wanted), rel=0.01)


def test_the_loss_is_near_the_models_own_and_a_guess_of_nothing_costs_1(scene):
    mean, error = training.squared_errors(at(scene, 500))
    assert 0 < mean < 0.2 and error < mean
    assert numbers(panels.show("training", at(scene, 500)), "simple") == [
        pytest.approx(mean, abs=1e-4),
        pytest.approx(error, abs=1e-4),
    ]


def test_the_decoders_chances_are_a_distribution():
    for mean, log_variance in ((0.1, -8.0), (-1.0, -6.0), (0.999, -3.0)):
        chances = decoder.probabilities(mean, log_variance)
        assert float(chances.sum()) == pytest.approx(1, abs=1e-6)
        assert abs(int(chances.argmax()) - (mean + 1) * 127.5) <= 1


def test_the_terms_of_the_bound_add_up_to_its_total_and_a_perfect_model_needs_fewer_bits(scene, perfect):
    totals = []
    for one in (scene, perfect):
        terms = list(bound.terms_of(one, 10))
        assert (
            len(terms) == 10
            and [t for t, _ in terms] == sorted((t for t, _ in terms), reverse=True)
            and terms[-1][0] == 1
        )
        totals.append(numbers(bound.shown(one, terms, 10), "total")[0])
        assert totals[-1] == pytest.approx(sum(bits for _, bits in terms), abs=1e-3)
    assert totals[1] < totals[0]


def test_the_chosen_pixel_is_where_one_chose_it(scene):
    assert [replace(scene, spot=spot).pixel for spot in ((0, 0), (0.5, 0.25), (1, 1))] == [
        (0, 0, 0, 0),
        (0, 0, 8, 16),
        (0, 0, 31, 31),
    ]
    value = round((float(scene.x0[0, 0, 8, 16]) + 1) * 127.5)
    assert f"The chosen pixel is <b>{value}</b>" in decoder.show(replace(scene, spot=(0.5, 0.25)))


def test_an_unfinished_bound_shows_no_total(scene):
    terms = list(bound.terms_of(scene, 10))
    assert "total" not in bound.shown(scene, terms[:4], 10) and "4 of 10 steps" in bound.shown(scene, terms[:4], 10)


def test_a_little_noise_brings_the_same_image_back_and_ddim_undoes_itself(scene):
    decoded, error = back.there_and_back(scene)
    assert (
        error == pytest.approx(127.5 * math.sqrt(float((decoded.clamp(-1, 1) - scene.x0).square().mean())))
        and error < 25
    )
    assert scene.steps_from_here(5).timesteps.tolist()[-1] == scene.index and len(at(scene, 3).steps_from_here(12)) == 3


def test_guidance_moves_the_guess_in_another_direction_for_every_class(scene):
    moved, strength = guidance.directions(at(scene, 600))
    about = scene.checkpoint.description
    assert len(moved) == len(strength) == len(about.class_names) and bool((strength > 0).all())
    assert "no classes" in guidance.show(replace(scene, checkpoint=load_checkpoint("oracle-memory")))


def test_a_model_without_classes_and_in_gray_has_panels_too(trained_checkpoint, tmp_path):
    Image.new("RGBA", (40, 20), (200, 10, 10, 128)).save(tmp_path / "a.png")
    here = scene_of(tmp_path / "a.png", tmp_path / "a.png", 0, 1.0, load_checkpoint(trained_checkpoint))
    assert here.x0.shape == (1, 1, 16, 16) and here.t == 100
    for panel in panels.TITLES:
        assert "<math" in panels.show(panel, here)
