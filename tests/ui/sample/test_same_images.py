"""The same request gives the same images through the API, the command line, evaluation and the page."""

import numpy as np
import pytest
from PIL import Image

from diffusion_demo.cli import main
from diffusion_demo.evaluation.npz import read_npz
from diffusion_demo.images import to_uint8
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.sampling.generate import last_step, sample
from diffusion_demo.sampling.image_writer import settings_of
from diffusion_demo.sampling.presets import GUIDANCE_START_PERCENT, usual_eta
from diffusion_demo.sampling.request import Request, image_specs
from diffusion_demo.ui.sample import generate, restore
from diffusion_demo.ui.server import warmup

SETTINGS = [
    {},
    {"sampler": "ddim"},
    {"guidance_scale": 2.0},
    {"sampler": "ddim", "guidance_scale": 3.0},
]
WITH_CLASSIFIER = [
    {"sampler": "ddim", "classifier_scale": 2.0, "guidance_scale": 2.0},
    {"classifier_scale": 2.0, "guidance_scale": 2.0},
]
COMMON = {"num_images": 2, "steps": 4, "seed": 5}


def options(settings):
    return [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", str(value))]


def from_the_api(folder, settings):
    request = Request(class_index=2, **COMMON, **settings)  # the class "two"
    return to_uint8(last_step(sample(load_checkpoint(folder), request)).xt).permute(0, 2, 3, 1).numpy()


def pixels_of(paths):
    return np.stack([np.asarray(Image.open(path)) for path in paths])


def from_the_command_line(folder, settings, out):
    arguments = ["--checkpoint", str(folder), "--class", "two", *options(COMMON | settings), "--out", str(out)]
    assert main(["sample", *arguments]) == 0
    return pixels_of(sorted(out.glob("*.png")))


def from_evaluation(folder, settings, digits, out):
    arguments = ["--checkpoint", str(folder), "--data", str(digits), *options(COMMON | settings)]
    assert main(["evaluate", *arguments, "--metrics", "nll", "--save-npz", str(out)]) == 0
    return read_npz(out)[0].permute(0, 2, 3, 1).numpy()


def from_the_page(name, settings):
    """Generate with the form's own values in all fields that the settings leave out."""
    form = {"guidance_scale": 1.0, "guide_from": GUIDANCE_START_PERCENT, "guide_to": 100, "classifier_scale": 0.0}
    form |= {"sampler": Request.sampler, "eta": usual_eta(settings.get("sampler", Request.sampler)), "twice": False}
    images = []
    for update in generate.generate(model=name, label="two", **form | COMMON | settings):
        if update.get("gallery"):
            images = pixels_of(path for path, _ in update["gallery"])
    return images


@pytest.fixture
def only_two(digits, tmp_path):
    """The digits of one class, so that evaluation samples this class alone."""
    folder = tmp_path / "only"
    (folder / "two").mkdir(parents=True)
    for i, path in enumerate(sorted((digits / "two").iterdir())):
        Image.open(path).convert("RGB").save(folder / "two" / f"{i}.png")
    return folder


@pytest.mark.parametrize("settings", SETTINGS)
def test_all_ways_give_the_same_images(three_models, only_two, tmp_path, settings):
    warmup.start()
    images = from_the_api(three_models / "plain", settings)
    assert images.shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(from_the_command_line(three_models / "plain", settings, tmp_path / "out"), images)
    np.testing.assert_array_equal(from_the_page("plain", settings), images)
    evaluated = from_evaluation(three_models / "plain", settings, only_two, tmp_path / "samples.npz")
    np.testing.assert_array_equal(evaluated, images)


@pytest.mark.parametrize("interval", [(400, 999), (400, 600), None])
def test_a_restored_interval_holds_and_an_untouched_form_means_the_usual_one(three_models, interval):
    """By default a classifier guides ddim from 400 to less than 999, although the form shows 40 to 100 %."""
    warmup.start()
    checkpoint, settings = load_checkpoint(three_models / "with-classifier"), WITH_CLASSIFIER[0] | {"num_images": 1}
    request = Request(class_index=2, **COMMON | settings, guidance_interval=interval)
    stored = settings_of(request, image_specs(request, checkpoint.description), "with-classifier", checkpoint)[0]
    restored = restore.from_settings(stored)
    fields = {name: restored[name] for name in ("guide_from", "guide_to")}
    images = to_uint8(last_step(sample(checkpoint, request)).xt).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(from_the_page("with-classifier", settings | fields), images)
    untouched = from_the_page("with-classifier", settings)
    assert np.array_equal(untouched, images) == (interval is None)


@pytest.mark.parametrize("settings", WITH_CLASSIFIER)
def test_a_classifier_guides_the_same_way_everywhere(three_models, tmp_path, settings):
    warmup.start()
    folder = three_models / "with-classifier"
    images = from_the_api(folder, settings)
    np.testing.assert_array_equal(from_the_command_line(folder, settings, tmp_path / "out"), images)
    np.testing.assert_array_equal(from_the_page("with-classifier", settings), images)
