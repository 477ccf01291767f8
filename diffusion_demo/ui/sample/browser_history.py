"""History of generated images, stored in the browser, with the image viewer and the keyboard shortcuts."""

from typing import Any

import gradio as gr

from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.paths import read_asset
from diffusion_demo.sampling.comparison import TITLES
from diffusion_demo.sampling.presets import SAMPLER_TITLES
from diffusion_demo.ui.server.model_list import model_folders, model_title

SCRIPTS = ("history_store.js", "history_words.js", "viewer.js", "history.js")
# JavaScript of event listeners: add the finished images of a run; take the image that the viewer (viewer.js) sent;
# press Generate after a reload, as soon as the button is ready; give up a run that the server refuses to start again.
ADD_RESULTS = (
    "(made) => { document.querySelector('#history .history')"
    ".dispatchEvent(new CustomEvent('made', {detail: made, bubbles: true})) }"
)
SENT_IMAGE = "() => window.sentImage"
PRESS_GENERATE = "() => { document.querySelector('#history .history').dispatchEvent(new Event('resumed')) }"
FORGET_RUN = "() => { document.querySelector('#history .history').dispatchEvent(new Event('refused')) }"
TAKE_NOTE = "() => { document.querySelector('#history .history').dispatchEvent(new Event('taken')) }"


def history_strip() -> gr.HTML:
    """Return the history strip with its viewer.

    It triggers use_this with the settings of an image; vary_this, blend_this and blend_with_this with its checkpoint
    and class; and resume_this with the settings of a run that a reload of the page has cut short.
    """
    return gr.HTML(
        {"models": _models(), "samplers": SAMPLER_TITLES, "settings": TITLES},
        html_template=read_asset("sample/history.html"),
        js_on_load="\n".join(read_asset(f"sample/{name}") for name in SCRIPTS),
        apply_default_css=False,
        elem_id="history",
    )


def _models() -> dict[str, dict[str, Any]]:
    """Return what the words of an image need, by model: its title, the titles of its classes, and T."""
    models = {}
    for name, folder in model_folders().items():
        metadata = load_metadata(folder)
        models[name] = {
            "title": model_title(name, folder),
            "classes": metadata.titles,
            "timesteps": metadata.num_train_timesteps,
        }
    return models
