"""Lessons of the Inspect tab compared with the equations they show, for the bundled model and an oracle."""

import base64
import html as html_module
import io
import json
import math
import re
import shutil
import unicodedata
from dataclasses import replace

import pytest
import torch
from PIL import Image, ImageSequence

from diffusion_demo.diffusion.denoiser import call_model
from diffusion_demo.diffusion.losses import decoder_term, kl_term
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import ORACLES
from diffusion_demo.paths import CHECKPOINTS, read_asset
from diffusion_demo.ui.inspect import examples
from diffusion_demo.ui.inspect.lesson_functions import SHOWS
from diffusion_demo.ui.inspect.lessons import (
    forward,
    frame,
    guidance,
    guided_samples,
    likelihood,
    regenerate,
    reverse,
    training,
    words,
)
from diffusion_demo.ui.inspect.lessons.html import fixed, formula, measured, short
from diffusion_demo.ui.inspect.lessons.scene import load_scene
from diffusion_demo.ui.sample.vary import _read

SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
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
    text = match.group(1).replace(" × 10", "e").translate(SUPERSCRIPTS)
    return [float(number) for number in re.findall(r"[\d.]+(?:e-\d+)?", text)]


def at(scene, t):
    return replace(scene, t=t)


@pytest.mark.parametrize("t", [1, 300, 1000])
@pytest.mark.parametrize("lesson", [name for name in words.LESSONS if name != "schedules"])
def test_every_lesson_is_complete_at_both_ends_of_the_chain(scene, lesson, t):
    html = frame.show(lesson, at(scene, t))
    assert f'data-t="{t}"' in html and "<math" in html and ("<img" in html or "data-chart" in html)
    assert "nan" not in re.sub(r'"data:[^"]*"', "", html).lower()


def test_the_words_lead_from_each_lesson_to_the_next():
    heads, ways, names = words.heads(), words.ways_on(), list(words.LESSONS)
    for name, lesson in words.LESSONS.items():
        assert lesson.question.endswith("?") and f"<h2>{lesson.question}</h2>" in heads
        assert lesson.idea.count(". ") == 1 or lesson.idea.count(". ") == 2, "two sentences, three at most"
        assert "Expect" in lesson.attempt and (lesson.share is None or 0 < lesson.share <= 1)
        assert name in SHOWS.values()
    assert re.findall('class="next" data-lesson="(.*?)"', ways) == names[:-1]
    assert re.findall('class="go-to" data-lesson="(.*?)"', ways) == names[1:]


def test_small_numbers_are_powers_of_ten_as_in_the_explorer(scene):
    assert [short(value) for value in (0, 0.00132, 5.5401, 2.43e-9)] == ["0", "0.00132", "5.54", "2.43 × 10⁻⁹"]
    shown = {
        lesson: re.sub(r'src="[^"]*"|data-[a-z]+="[^"]*"', "", frame.show(lesson, scene)) for lesson in words.LESSONS
    }
    assert not {lesson: found for lesson, text in shown.items() if (found := re.findall(r"\d+e-\d+", text))}


def test_negative_numbers_have_a_minus_sign_and_zero_has_none(scene):
    assert [fixed(-0.25, 2), measured(-0.25, 0.1), short(-2.5), fixed(-1e-9, 3)] == [
        "−0.25",
        "−0.2500 ± 0.1000",
        "−2.5",
        "0.000",
    ]
    cells = "".join(re.findall("<t[dh].*?</t[dh]>", "".join(frame.show(lesson, scene) for lesson in words.LESSONS)))
    assert "−1.000" in cells and not re.search(r"-\d", cells)


def test_an_exact_model_that_is_right_is_not_said_to_be_wrong(oracle_scene, scene):
    exact, network = (reverse.show(at(one, 250)) for one in (oracle_scene, scene))
    assert "costs nothing but rounding" in exact and "not exact" not in exact
    assert "the same for all pixels" in exact and "not exact" in network and "the same for all pixels" not in network
    assert "The network" not in training.show(at(oracle_scene, 250))


def test_a_plus_that_continues_a_formula_has_space_on_both_sides():
    assert '<mo form="infix">&#x0002B;' in formula("+ x") and "infix" not in formula("x + y")


@pytest.mark.parametrize("lesson", words.LESSONS)
@pytest.mark.parametrize(
    ("model", "said"),
    [("oracle-memory", "it can only return them. A network"), ("oracle-pixels", "independent pixels")],
)
def test_every_lesson_works_with_an_oracle_and_says_what_that_is(scene, lesson, model, said):
    shown = frame.show(lesson, replace(scene, checkpoint=load_checkpoint(model)), model)
    assert "Exact model" in shown and said in shown and 'alt="The 16 images"' in shown
    assert set(frame.EXACT) == set(ORACLES)


def test_a_trained_model_starts_with_an_image_of_its_last_preview(random_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    checkpoint, size = tmp_path / "run" / "checkpoints" / "step_000020", load_metadata(random_checkpoint).image_size
    shutil.copytree(random_checkpoint, checkpoint)
    assert examples.image_like(checkpoint) is None
    (tmp_path / "run" / "samples").mkdir()
    for step, color in ((0, "red"), (20, "blue")):
        Image.new("RGB", (4 * size, 4 * size), color).save(tmp_path / "run" / "samples" / f"step_{step:06d}.png")
    Image.new("RGB", (4 * size, 4 * size), "white").save(tmp_path / "run" / "samples" / "step_000020_nearest.png")
    path = examples.image_like(checkpoint)
    assert path is not None
    with Image.open(path) as image:
        assert image.size == (size, size) and image.getpixel((0, 0)) == (0, 0, 255)  # no training image
    (tmp_path / "run" / "samples" / "step_000020.png").write_bytes(b"damaged")
    path = examples.image_like(checkpoint)
    assert path is not None and Image.open(path).getpixel((0, 0)) == (255, 0, 0)


def test_the_schedule_of_the_model_is_told_by_its_name_or_else_by_its_betas(scene):
    assert frame.own_schedule(scene) == ("squaredcos_cap_v2", "")
    other = replace(scene.chain, betas=scene.chain.betas / 2)
    name, betas = frame.own_schedule(replace(scene, checkpoint=replace(scene.checkpoint, diffusion=other)))
    assert name == "own" and base64.b64decode(betas) == other.betas.numpy().tobytes()


def test_a_model_on_the_straight_path_has_every_lesson_up_to_pure_noise(scene):
    flow = Diffusion(named_betas("flow", 1000), "v_prediction", "learned_range")
    here = replace(scene, checkpoint=replace(scene.checkpoint, diffusion=flow, beta_schedule="flow"), t=1000)
    assert frame.own_schedule(here) == ("flow", "")
    for lesson in words.LESSONS:
        assert "nan" not in re.sub(r'"data:[^"]*"', "", frame.show(lesson, here)).lower(), lesson


def test_the_optimal_denoiser_knows_its_sixteen_images_and_no_other(scene):
    assert len(scene.known) == 16 and torch.equal(scene.known[0], scene.x0[0])
    assert float((at(scene, 300).optimal_x0(at(scene, 300).xt, 299) - scene.x0).abs().max()) < 1e-3
    foreign = replace(scene, x0=-scene.x0)
    answer = foreign.optimal_x0(foreign.xt, foreign.index)
    assert float((foreign.known - answer).abs().amax((1, 2, 3)).min()) < 1e-2, "it answers with one of the sixteen"


def test_one_guess_has_three_errors_that_differ_by_known_factors(scene):
    for t in (50, 500, 950):
        errors, abar = training.target_errors(at(scene, t)), float(scene.chain.abar[t - 1])
        assert errors["epsilon"] == pytest.approx(abar * errors["v_prediction"], rel=1e-3)
        assert errors["sample"] == pytest.approx((1 - abar) * errors["v_prediction"], rel=1e-3)
        shown = re.search(r'error-v_prediction">([\d.]+)<', training.show(at(scene, t)))
        assert shown and float(shown[1]) == pytest.approx(errors["v_prediction"], abs=1e-5)


def test_the_error_over_t_is_that_of_the_network_and_of_the_optimal_denoiser(scene):
    ts, network, optimal = training.error_curves(scene)
    assert ts[0] == 1 and ts[-1] == 1000 and len(ts) == len(network) == len(optimal)
    eps, k = scene.draws(len(ts), salt=9), len(ts) // 2
    xt = scene.chain.q_sample(scene.x0, ts[k] - 1, eps[k : k + 1])
    assert network[k] == pytest.approx(float(((scene.p(xt, ts[k] - 1, clip=False).eps - eps[k]) ** 2).mean()), rel=1e-2)
    assert optimal[k] < network[k] and max(network[1:]) < 1


def test_moments_of_the_chain_agree_with_the_closed_form(scene):
    for x0, mean, mean_error, exact_mean, variance, variance_error, exact_variance in forward.compare_moments(
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
    with Image.open(io.BytesIO(forward.animation(at(scene, 50), {"chain": "cosine"}))) as moving:
        assert 30 <= len(ImageSequence.all_frames(moving)) <= 40 and moving.size == (256, 256), (
            "equal frames are merged"
        )
        assert json.loads(moving.getexif()[0x010E]) == {"chain": "cosine", "t": 50, "seed": 7}
    with Image.open(io.BytesIO(forward.animation(at(scene, 1), {}))) as short:
        assert short.size == (256, 256)


def test_the_cost_of_a_step_equals_the_loss_term(scene):
    for t in (1, 2, 500):
        here = at(scene, t)
        with torch.no_grad():
            output = call_model(here.model, here.chain, here.xt, t - 1, **here.labels(1))
        p = here.chain.p(output, here.xt, t - 1)
        wanted = kl_term(here.chain.q_posterior(here.x0, here.xt, t - 1), p) if t > 1 else decoder_term(p, here.x0)
        assert numbers(frame.show("reverse", here), "bits")[0] == pytest.approx(float(wanted), rel=0.01)


def test_the_estimated_loss_is_plausible_and_shown(scene):
    mean, error = training.estimate_loss(at(scene, 500))
    assert 0 < mean < 0.2 and error < mean
    assert numbers(frame.show("training", at(scene, 500)), "simple") == [
        pytest.approx(mean, abs=1e-4),
        pytest.approx(error, abs=1e-4),
    ]


def test_pixel_probabilities_are_a_distribution():
    for mean, log_variance in ((0.1, -8.0), (-1.0, -6.0), (0.999, -3.0)):
        probability = likelihood.pixel_probabilities(mean, log_variance)
        assert float(probability.sum()) == pytest.approx(1, abs=1e-6)
        assert abs(int(probability.argmax()) - (mean + 1) * 127.5) <= 1


def test_the_terms_add_up_to_the_bound_and_an_oracle_needs_fewer_bits(scene, oracle_scene):
    totals = []
    for one in (scene, oracle_scene):
        terms = list(likelihood.compute_terms(one, 10))
        assert (
            len(terms) == 10
            and [t for t, _ in terms] == sorted((t for t, _ in terms), reverse=True)
            and terms[-1][0] == 1
        )
        totals.append(numbers(likelihood.render(one, terms, 10), "total")[0])
        assert totals[-1] == pytest.approx(sum(bits for _, bits in terms), abs=1e-3)
    assert totals[1] < totals[0]


def test_the_numbers_of_the_lessons_agree_with_each_other(scene):
    """L_0 equals the decoder's cost, and each other term the cost that the reverse-step lesson shows."""
    for steps in (25, None):
        terms = list(likelihood.compute_terms(scene, steps))
        shown = likelihood.render(scene, terms, len(terms))
        assert numbers(shown, "decoder")[0] == pytest.approx(terms[-1][1], abs=1e-4)
    here = at(scene, 300)
    assert dict(terms)[300] == pytest.approx(numbers(frame.show("reverse", here), "bits")[0], rel=0.01)


def test_the_spot_selects_a_pixel(scene):
    assert [replace(scene, spot=spot).pixel for spot in ((0, 0), (0.5, 0.25), (1, 1))] == [
        (0, 0, 0, 0),
        (0, 0, 8, 16),
        (0, 0, 31, 31),
    ]
    value = round((float(scene.x0[0, 0, 8, 16]) + 1) * 127.5)
    assert f"The red value of the chosen pixel is <b>{value}</b>" in (
        shown := likelihood.show(replace(scene, spot=(0.5, 0.25)))
    )
    assert f"(the bar from {value} to {value + 1})" in shown


def test_the_lessons_that_show_the_information_left_at_the_end_say_at_which_size(scene):
    terms = list(likelihood.compute_terms(scene, 10))
    assert "image at 32x32, so it differs a little from lesson 1, at 128x128" in likelihood.render(scene, terms, 10)
    assert "image at 128x128; lesson 5 uses the model's size" in read_asset("inspect/inspector.html")
    large = replace(scene, x0=scene.x0.repeat(1, 1, 4, 4), eps=scene.eps.repeat(1, 1, 4, 4))
    assert "differs a little" not in likelihood._sum_table(large, terms)


@pytest.mark.parametrize(("lesson", "images"), [("reverse", 4), ("likelihood", 1)])
def test_the_chosen_pixel_is_marked_in_each_single_image(scene, lesson, images):
    marks = re.findall('class="pixel" style="(.*?)"', frame.show(lesson, replace(scene, spot=(0.5, 0.25))))
    middle = f"left: {100 * 16.5 / 32:.4g}%; top: {100 * 8.5 / 32:.4g}%; width: 3.125%"
    assert marks == [middle] * images


def test_an_unfinished_bound_shows_no_total(scene):
    terms = list(likelihood.compute_terms(scene, 10))
    assert "total" not in likelihood.render(scene, terms[:4], 10) and "4 of 10 steps" in likelihood.render(
        scene, terms[:4], 10
    )


def test_ddim_inverts_its_encoding(scene):
    decoded, error = regenerate.ddim_round_trip(scene)
    assert error == pytest.approx(127.5 * math.sqrt(float((decoded.clamp(-1, 1) - scene.x0).square().mean())))
    coarser = regenerate.ddim_round_trip(scene, num_steps=16)[1]
    assert error < 5 < coarser
    assert scene.respaced_from_t(5).timesteps.tolist()[-1] == scene.index and len(at(scene, 3).respaced_from_t(12)) == 3


def test_all_steps_from_x_t_are_shown_one_figure_after_the_other(scene):
    parts = list(regenerate.parts(scene))
    assert len(parts) == 4 and all("<img" in part for part in parts)
    assert "From the same x<sub>t</sub>, t = 300" in parts[0] and "DDIM inversion and decoding" in parts[3]


def test_guided_images_go_along_the_direction_of_their_class(scene):
    here = at(scene, 800)
    unguided, (plain, guided) = guidance.predicted_images(here, [2, 5])
    difference, _ = guidance.guidance_directions(here)
    factor = -float((1 / here.chain.abar[799] - 1).sqrt())  # x_0 is linear in eps
    inside = (plain.abs() < 1) & (guided.abs() < 1) & (unguided.abs() < 1)
    moved = unguided + guidance.SCALES[1] * factor * difference[[2, 5]]
    torch.testing.assert_close(guided[inside], moved[inside], atol=2e-3, rtol=0)


def test_guidance_has_a_direction_for_every_class(scene):
    difference, strength = guidance.guidance_directions(at(scene, 600))
    metadata = scene.checkpoint.description
    assert len(difference) == len(strength) == len(metadata.class_names) and bool((strength > 0).all())
    assert "no classes" in guidance.show(replace(scene, checkpoint=load_checkpoint("oracle-memory")))


def test_finished_images_of_a_class_differ_less_than_those_without_one(scene):
    parts = list(guided_samples.parts(at(scene, 800)))
    varieties = [numbers(part, "variety")[0] for part in parts]
    assert len(parts) == len(guided_samples.SCALES) and varieties[0] > 1.2 * varieties[1], varieties
    assert not list(guided_samples.parts(replace(scene, checkpoint=load_checkpoint("oracle-memory"))))
    metadata = scene.checkpoint.description
    name = metadata.title(metadata.class_names[int(guidance.image_changes(at(scene, 800)).argmax())])
    assert f"s = 1, {name} without guidance" in parts[1] and f"s = 4, {name} with guidance" in parts[2]
    assert f"Generate {name} at three guidance scales" in guidance.show(at(scene, 800))


def test_the_mean_distance_is_that_of_all_pairs(scene):
    images = scene.known[:3]
    pairs = [(0, 1), (0, 2), (1, 2)]
    distances = [float((images[i] - images[j]).square().mean().sqrt()) * 127.5 for i, j in pairs]
    assert guided_samples.mean_distance(images) == pytest.approx(sum(distances) / 3, rel=1e-5)


def test_images_are_prepared_as_in_the_training_of_the_model(trained_checkpoint, tmp_path):
    model = load_checkpoint(trained_checkpoint)
    padding = replace(model, description=replace(model.description, fit="pad", background="#000000"))
    Image.new("RGBA", (32, 16), (255, 255, 255, 255)).save(tmp_path / "wide.png")
    cropped, padded = (load_scene(tmp_path / "wide.png", tmp_path / "wide.png", 0, 1.0, of) for of in (model, padding))
    assert cropped.x0.min() == 1 and padded.x0[..., :3, :].max() == -1 and padded.x0[..., 8, :].min() == 1
    assert padded.known.shape == cropped.known.shape
    assert torch.equal(_read(str(tmp_path / "wide.png"), padding.description)[0], padded.x0)


def test_every_lesson_works_with_an_unconditional_grayscale_model(trained_checkpoint, tmp_path):
    Image.new("RGBA", (40, 20), (200, 10, 10, 128)).save(tmp_path / "a.png")
    here = load_scene(tmp_path / "a.png", tmp_path / "a.png", 0, 1.0, load_checkpoint(trained_checkpoint))
    assert here.x0.shape == (1, 1, 16, 16) and here.t == 100
    for lesson in words.LESSONS:
        assert f'id="lesson-{lesson}"' in frame.show(lesson, here)


# Symbols


def letters(mathml):
    """Return the letters of formulas, other than indices, and with the accents of a letter left out."""
    upright = html_module.unescape(re.sub(r"<(mo|mn|mtext)[ >].*?</\1>", "", mathml))
    return set(re.findall(r"<mi[^>]*>(\w|∅)</mi>", upright)) - {"t", "T"}


def test_every_letter_of_an_equation_is_explained_where_it_first_stands(scene):
    page, known = read_asset("inspect/inspector.html"), ""
    parts = re.split('<div class="part[^>]*data-lesson="', page)[1:]
    for name, lesson in words.LESSONS.items():
        known += unicodedata.normalize("NFD", plain(" ".join(lesson.symbols)))
        math = "".join(part for part in parts if part.startswith(name)) + frame.show(name, scene)
        found = letters("".join(re.findall("<math.*?</math>", math, re.DOTALL)))
        assert found or name == "schedules"
        assert {letter for letter in found if letter not in known} == set(), name


def test_no_symbol_has_two_meanings():
    meanings: dict[str, set[str]] = {}
    for lesson in words.LESSONS.values():
        for symbols, meaning in lesson.symbols.items():
            for symbol in symbols.split(", ") if "(" not in symbols else [symbols]:
                meanings.setdefault(symbol, set()).add(meaning)
    assert {symbol: found for symbol, found in meanings.items() if len(found) > 1} == {}


def test_the_time_of_flow_matching_is_not_written_like_the_guidance_scale():
    flow = plain(read_asset("inspect/inspector.html").split("flow matching</h3>")[1])
    assert "τ = t / T" in flow and not re.search(r"\b[sc]\b", flow)


# Words that follow the numbers


def plain(html):
    return re.sub("<.*?>", "", html)


def test_while_the_bound_is_measured_no_other_step_stands_for_that_of_t(scene):
    here = at(scene, 500)
    terms = list(likelihood.compute_terms(here, 10))
    early, late, whole = (likelihood.render(here, terms[:count], 10) for count in (2, 9, 10))
    assert "nearest" not in early and "reverse step costs" not in early
    assert all("nearest to t = 500" in html for html in (late, whole))


def test_a_bound_in_few_steps_is_said_to_be_that_of_these_steps(scene):
    terms = list(likelihood.compute_terms(scene, 10))
    shown = likelihood.render(scene, terms, 10)
    assert "This is the bound of a sampler with 10 long steps" in shown and "only all T steps" not in shown


def test_a_class_changes_the_predicted_image_less_at_low_noise(scene):
    """As the lesson says. Relative to its length, eps changes more there."""
    shown = [numbers(guidance.show(at(scene, t)), "change")[0] for t in (10, 100, 500, 800)]
    assert shown == sorted(shown) and shown[1] < 0.3 * shown[-1]
    changes = guidance.image_changes(at(scene, 800))
    unguided, (plain_images, _) = guidance.predicted_images(at(scene, 800), list(range(len(changes))))
    assert changes[3] == pytest.approx(127.5 * float((plain_images[3] - unguided[0]).square().mean().sqrt()), rel=1e-4)


def test_the_lesson_on_guidance_says_where_its_t_starts():
    assert "If t is below 50 %, this lesson opens at 80 %" in words.LESSONS["guidance"].idea
    assert words.OPENING_SHARES == {"guidance": 0.8}


def test_an_interpolation_says_with_which_image(scene):
    here = at(scene, 5)
    named = [list(regenerate.parts(replace(here, other_name=name)))[1] for name in ("the second example", "it")]
    assert "Between the image and the second example, mixed" in named[0] and "Between the image and it" in named[1]


def test_an_exact_model_is_not_called_a_network(scene, oracle_scene):
    assert "predicted by the network" in frame.show("reverse", scene)
    exact = frame.show("reverse", oracle_scene)
    assert "predicted by the exact model" in exact and "The network works" not in exact and "the network's" not in exact
    assert "unguided" in frame.show("guidance", oracle_scene)
    assert "data-press" not in frame.show("guidance", oracle_scene), "it has no class to generate"


@pytest.mark.parametrize("lesson", frame.AT_T)
def test_t_zero_is_said_to_have_no_step(lesson):
    first, second = sorted(FACE.glob("seed_*.png"))[:2]
    clean, noisy = (load_scene(first, second, 7, t, load_checkpoint(CHECKPOINTS / "avatars-32")) for t in (0, 0.001))
    assert clean.t == noisy.t == 1
    assert "t = 0 is the clean image" in frame.show(lesson, clean)
    assert "t = 0 is the clean image" not in frame.show(lesson, noisy)


def test_one_step_is_singular(scene):
    assert "1 small step<" in forward.show(at(scene, 1)) and "2 small steps<" in forward.show(at(scene, 2))


def test_the_last_step_costs_what_its_pixel_values_do(scene):
    last, other = plain(frame.show("reverse", at(scene, 1))), plain(frame.show("reverse", at(scene, 2)))
    assert "Storing the image with these costs" in last and "guess is not exact" not in last
    assert "Because the guess is not exact, this step costs" in other and "Storing" not in other


def test_the_extremes_of_the_loss_are_explained_and_what_the_model_predicts_is_said(scene):
    first, middle, last = (plain(training.show(at(scene, t))) for t in (1, 500, 1000))
    assert "guessing zero is better" in first and "almost the noise itself" in last
    assert "guessing zero is better" not in middle and "almost the noise itself" not in middle
    assert "This model predicts v" in middle and "means per value" in middle
