"""Runs of the Sample tab with a second network: an upsampler or a classifier."""

import gradio as gr
import pytest

from diffusion_demo.images import read_settings
from diffusion_demo.models.metadata import ORACLES
from diffusion_demo.ui.sample import generate, restore
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


def test_a_missing_second_network_is_an_error(warm):
    with pytest.raises(gr.Error, match="has no classifier"):
        run("plain", classifier_scale=1)
    with pytest.raises(gr.Error, match="No upsampler fits"):
        run("oracle-memory", twice=True)
    assert "twice" in model_list.upsampler_folders()
