"""Conversion of the Sample form to requests, and the fields that only some models support."""

import shutil
from dataclasses import replace

import pytest

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.paths import CHECKPOINTS
from diffusion_demo.sampling.presets import DEFAULT, DEFAULT_ETA, GUIDANCE_START_PERCENT, PRESETS
from diffusion_demo.ui.sample import quality, tab
from diffusion_demo.ui.sample.request_form import interval_to_percent, parse_request, percent_to_interval, upsampler_for
from diffusion_demo.ui.server import model_list
from tests.conftest import CLASSES

METADATA = CheckpointMetadata(16, 3, 1000, CLASSES, guidance=True)
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


def parse(**changes):
    return parse_request(METADATA, **FORM | changes)


def test_every_field_is_parsed():
    request = parse()
    assert (request.num_images, request.sampler, request.steps, request.eta, request.seed) == (4, "ddim", 10, 0.5, 3)
    assert (request.class_index, request.guidance_scale, request.guidance_interval) == (
        CLASSES.index("two"),
        2.0,
        (0, 999),
    )
    assert parse(label="mixed").class_index is None


def test_the_interval_is_ignored_without_guidance():
    assert parse(guide_from=20, guide_to=80).guidance_interval == (200, 799)
    assert parse(guide_from=20, guide_to=80, guidance_scale=1).guidance_interval is None


def test_the_percentages_that_the_form_starts_with_are_the_usual_interval():
    assert parse(guide_from=GUIDANCE_START_PERCENT, guide_to=100).guidance_interval is None
    assert parse(guide_from=GUIDANCE_START_PERCENT, guide_to=99).guidance_interval == (400, 989)


@pytest.mark.parametrize("steps", [100, 1000, 4000])
def test_percentages_of_an_interval_give_the_interval_again(steps):
    for interval in ((0, steps - 1), (3, 3), (steps // 3, steps - 2), (steps * 2 // 5, steps - 1)):
        assert percent_to_interval(*interval_to_percent(list(interval), steps), steps) == interval
    assert percent_to_interval(*interval_to_percent(None, steps), steps) is None
    usual = interval_to_percent((steps * 2 // 5, steps - 1), steps, is_usual=True)
    assert usual == (GUIDANCE_START_PERCENT, 100) and percent_to_interval(*usual, steps) is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_images": None}, "Enter the number of images"),
        ({"num_images": 65}, "from 1 to 64 on this page"),
        ({"steps": None}, "Enter the number of steps"),
        ({"seed": None}, "Enter the seed"),
        ({"guide_from": None}, "Enter the start of the guidance interval"),
        ({"guide_from": 60, "guide_to": 60}, "start below the end"),
        ({"guide_from": 60, "guide_to": 40}, "start below the end"),
        ({"label": "nine"}, "no class 'nine'"),
        ({"sampler": "euler"}, "one of ddpm, ddim, dpm_solver, not 'euler'"),
    ],
)
def test_invalid_fields_raise_one_sentence(changes, sentence):
    with pytest.raises(BadInput, match=sentence):
        parse(**changes)


def test_quality_presets_match_their_values():
    assert PRESETS[DEFAULT] == ("dpm_solver", 12, DEFAULT_ETA["dpm_solver"])
    assert [quality.word_for(*preset) for preset in PRESETS.values()] == list(PRESETS)
    assert quality.word_for("ddim", 12, 0.5) == quality.word_for("dpm_solver", 12, 0) == quality.CUSTOM


def visible_fields(model):
    return [
        update["visible"] if isinstance(update, dict) else update.visible
        for update in tab._show_optional_fields(model).values()
    ]


def test_only_supported_fields_are_visible(three_models):
    assert visible_fields("plain") == [True, False, True]
    assert visible_fields("with-classifier") == [True, True, True]
    assert visible_fields("oracle-memory") == [False, False, False]


def test_an_upsampler_must_fit_the_size_and_the_channels(three_models):
    assert upsampler_for(load_metadata(three_models / "plain")) == ("twice", three_models / "twice")
    assert upsampler_for(CheckpointMetadata(16, 1, 1000)) is None
    assert upsampler_for(CheckpointMetadata(32, 3, 1000)) is None
    assert "twice" not in model_list.model_folders()


def test_an_upsampler_of_the_same_classes_comes_first(three_models):
    for name, classes in (("a-others", ("cat", "dog")), ("z-same", CLASSES)):
        folder = shutil.copytree(three_models / "twice", three_models / name)
        replace(load_metadata(folder), data={"classes": dict.fromkeys(classes, 20)}).save(folder)
    assert upsampler_for(load_metadata(three_models / "plain")) == ("z-same", three_models / "z-same")


def test_the_bundled_upsampler_is_that_of_the_bundled_model():
    assert upsampler_for(load_metadata(CHECKPOINTS / "avatars-32")) == ("avatars-64", CHECKPOINTS / "avatars-64")


def test_classes_that_are_no_table_choose_nothing():
    assert CheckpointMetadata(32, 3, 1000, ("a",), data={"classes": 7}).classes_of_data == {"a"}
    assert upsampler_for(CheckpointMetadata(32, 3, 1000, data={"classes": ["cat"]})) is not None
