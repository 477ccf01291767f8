"""Runs of the Sample tab with a second network: an upsampler or a classifier."""

import gradio as gr
import pytest

from diffusion_demo.images import read_settings
from diffusion_demo.models.metadata import ORACLES, CheckpointMetadata
from diffusion_demo.ui.sample import generate, request_form, restore
from diffusion_demo.ui.server import model_list, warmup

FORM = {
    "label": "two",
    "num_images": 2,
    "sampler": "ddim",
    "steps": 3,
    "guidance_scale": 1.0,
    "eta": 0.0,
    "seed": 8,
    "guide_from": 0,
    "guide_to": 100,
}


@pytest.fixture
def warm(three_models):
    warmup.start()
    warmup.wait()


def run(model, classifier_scale=0.0, twice=False):
    """Return the status lines of a run and the settings stored in its first image."""
    statuses, settings = [], {}
    form = FORM | {"label": "mixed" if model in ORACLES else FORM["label"], "classifier_scale": classifier_scale}
    for updates in generate.generate(model=model, twice=twice, **form):
        if "status" in updates.get("preview", {}):
            statuses.append(updates["preview"]["status"])
        if updates.get("gallery"):
            settings = read_settings(updates["gallery"][0][0])
    return statuses, settings


def test_upsampler_is_recorded_in_the_settings_and_restored(warm):
    statuses, settings = run("plain", twice=True)
    assert statuses[0] == "Step 0 of 6" and statuses[-1].startswith("2 images in")
    assert settings["upsampler"] == "twice"
    restored = restore.from_settings(settings)
    assert restored["model"] == "plain" and restored["twice"] is True and restored["preset"] == "custom"


def test_an_image_of_a_renamed_model_says_so(three_models, monkeypatch):
    monkeypatch.setattr(warmup, "wait", lambda: None)
    settings = {"checkpoint": "gone/step_000012", "sampler": "ddim", "steps": 3, "eta": 0, "seed": 1}
    with pytest.raises(gr.Error, match="made this image, gone/step_000012, is not in the list"):
        restore.from_settings(settings)


def test_classifier_scale_is_recorded_and_restored(warm):
    _, settings = run("with-classifier", classifier_scale=2.5)
    assert settings["classifier_scale"] == 2.5 and "upsampler" not in settings
    assert restore.from_settings(settings)["classifier_scale"] == 2.5


def toasts(monkeypatch):
    """Return the list that collects the texts of the toasts."""
    texts = []
    for kind in ("Info", "Warning"):
        monkeypatch.setattr(gr, kind, texts.append)
    return texts


def test_an_image_guided_by_another_classifier_says_so(warm, monkeypatch):
    _, settings = run("with-classifier", classifier_scale=2.5)
    shown = toasts(monkeypatch)
    restore.from_settings(settings)
    restore.from_settings(settings | {"classifier": "mine", "classifier_scale": 0})
    assert all(text == "Settings restored (seed 8)." for text in shown) and len(shown) == 2
    restore.from_settings(settings | {"classifier": "mine"})
    assert "not mine. The image may differ." in shown[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class": "four"}, "no longer has the class of this image, four"),
        ({"class": "1"}, "no longer has the class of this image, 1"),
        ({"steps": "ddim50"}, "The steps of this image, ddim50, cannot be set on this page"),
        ({"steps": 1001}, "Steps must be from 1 to 1000"),
        ({"eta": 7}, "Eta must be from 0 to 1, not 7"),
        ({"class": None}, "cannot be read"),
        ({"class": ["two"]}, "cannot be read"),
        ({"steps": None}, "cannot be read"),
        ({"guidance_interval": [1]}, "cannot be read"),
    ],
)
def test_settings_that_the_page_cannot_restore_are_named(warm, change, words):
    _, settings = run("plain")
    with pytest.raises(gr.Error, match=words):
        restore.from_settings(settings | change)


def test_a_class_that_is_named_like_all_classes_can_be_chosen_and_restored():
    metadata = CheckpointMetadata(16, 3, 1000, class_names=("cat", "mixed"))
    values = request_form.class_values(metadata)
    assert [request_form.parse_class(value, metadata) for value in values] == [None, 0, 1] and len(set(values)) == 3
    assert request_form.class_update(metadata, request_form.class_value("mixed", metadata)).value == values[2]


def test_a_missing_second_network_is_an_error(warm):
    with pytest.raises(gr.Error, match="has no classifier"):
        run("plain", classifier_scale=1)
    with pytest.raises(gr.Error, match="No upsampler fits"):
        run("oracle-memory", twice=True)
    assert "twice" in model_list.upsampler_folders()
