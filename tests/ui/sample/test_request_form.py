"""What the form asks for, as requests; and what only some models can."""

import pytest

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.sampling.presets import DEFAULT, DEFAULT_ETA, PRESETS
from diffusion_demo.ui.sample import quality, tab
from diffusion_demo.ui.sample.request_form import interval_to_percent, parse_request, percent_to_interval, upsampler_for
from diffusion_demo.ui.server import model_list
from tests.conftest import CLASSES

ABOUT = CheckpointMetadata(16, 3, 1000, CLASSES, guidance=True)
FORM = {
    "label": "two",
    "num_images": 4,
    "sampler": "ddim",
    "steps": 10,
    "guidance_scale": 2.0,
    "eta": 0.5,
    "seed": 3,
    "guide_from": 0,
    "guide_to": 100,
    "classifier_scale": 0,
}


def asked(**changes):
    return parse_request(ABOUT, **FORM | changes)


def test_the_form_as_it_stands():
    request = asked()
    assert (request.num_images, request.sampler, request.steps, request.eta, request.seed) == (4, "ddim", 10, 0.5, 3)
    assert (request.class_index, request.guidance_scale, request.guidance_interval) == (CLASSES.index("two"), 2.0, None)
    assert asked(label="mixed").class_index is None


def test_an_interval_is_for_guidance_alone():
    assert asked(guide_from=20, guide_to=80).guidance_interval == (200, 799)
    assert asked(guide_from=20, guide_to=80, guidance_scale=1).guidance_interval is None


@pytest.mark.parametrize("steps", [100, 1000, 4000])
def test_an_interval_comes_back_as_it_was_asked_for(steps):
    for interval in ((0, steps - 1), (3, 3), (steps // 3, steps - 2)):
        assert percent_to_interval(*interval_to_percent(list(interval), steps), steps) in (
            interval,
            None if interval == (0, steps - 1) else interval,
        )
    assert interval_to_percent(None, steps) == (0, 100)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_images": None}, "Fill in the number of images"),
        ({"num_images": 65}, "1 to 64 images at a time"),
        ({"steps": None}, "Fill in the steps"),
        ({"seed": None}, "Fill in the seed"),
        ({"guide_from": None}, "Fill in the start of the guidance"),
        ({"guide_from": 60, "guide_to": 60}, "lower percent to a higher one"),
        ({"guide_from": 60, "guide_to": 40}, "lower percent to a higher one"),
        ({"label": "nine"}, "no class 'nine'"),
        ({"sampler": "euler"}, "no sampler 'euler'"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(changes, sentence):
    with pytest.raises(BadInput, match=sentence):
        asked(**changes)


def test_quality_words_and_their_numbers():
    assert PRESETS[DEFAULT] == ("dpm_solver", 12, DEFAULT_ETA["dpm_solver"])
    assert [quality.word_for(*preset) for preset in PRESETS.values()] == list(PRESETS)
    assert quality.word_for("ddim", 12, 0.5) == quality.word_for("dpm_solver", 12, 0) == quality.CUSTOM


def shown(model):
    return [update["visible"] if isinstance(update, dict) else update.visible for update in tab._rare(model)]


def test_only_what_a_model_can_is_shown(three_models):
    assert shown("plain") == [True, False, True]
    assert shown("with-classifier") == [True, True, True]
    assert shown("oracle-memory") == [False, False, False]


def test_an_upsampler_must_fit_the_size_and_the_channels(three_models):
    assert upsampler_for(load_metadata(three_models / "plain")) == ("twice", three_models / "twice")
    assert upsampler_for(CheckpointMetadata(16, 1, 1000)) is None
    assert upsampler_for(CheckpointMetadata(32, 3, 1000)) is None
    assert "twice" not in model_list.models()
