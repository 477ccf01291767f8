"""A run of the Sample tab with a second network: what enlarges the images, or a classifier that guides them."""

import gradio as gr
import pytest

from diffusion_demo.images import read_settings
from diffusion_demo.models.metadata import ORACLES
from diffusion_demo.ui.sample import generate, restore
from diffusion_demo.ui.server import model_list, warmup

FORM = ("two", 2, "ddim", 3, 1.0, 0.0, 8, 0, 100)


@pytest.fixture
def warm(three_models):
    warmup.start()
    warmup.wait()


def run(model, classifier_scale=0, twice=False):
    """The status lines of a run, and the settings inside its first image."""
    said, found = [], None
    label = "mixed" if model in ORACLES else FORM[0]
    for stage, gallery, *_ in generate.generate(model, label, *FORM[1:], classifier_scale, twice):
        if "status" in stage:
            said.append(stage["status"])
        if isinstance(gallery, list):
            found = read_settings(gallery[0][0])
    return said, found


def test_images_are_enlarged_in_a_second_walk_and_say_by_what(warm):
    said, settings = run("plain", twice=True)
    assert said[0] == "Step 0 of 6" and said[-1].startswith("2 images in")
    assert settings["upsampler"] == "twice"
    restored = restore.from_settings(settings)
    assert restored[0] == "plain" and restored[11] is True and restored[-1] == "custom"


def test_a_classifier_guides_and_comes_back(warm):
    _, settings = run("with-classifier", classifier_scale=2.5)
    assert settings["classifier_scale"] == 2.5 and "upsampler" not in settings
    assert restore.from_settings(settings)[10] == 2.5


def test_what_no_second_network_can_do_is_refused(warm):
    with pytest.raises(gr.Error, match="no classifier beside it"):
        run("plain", classifier_scale=1)
    with pytest.raises(gr.Error, match="twice as large"):
        run("oracle-memory", twice=True)
    assert "twice" in model_list.upsamplers()
