"""History of generated images, stored in the browser, with the image viewer and the keyboard shortcuts."""

import gradio as gr

from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.paths import read_asset
from diffusion_demo.sampling.comparison import TITLES
from diffusion_demo.sampling.presets import SAMPLER_TITLES
from diffusion_demo.ui.server.model_list import model_folders

SCRIPTS = ("history_store.js", "history_words.js", "viewer.js", "history.js")
# JavaScript of event listeners: add the finished images of a run; take the image that the viewer (viewer.js) sent.
ADD_RESULTS = (
    "(made) => { document.querySelector('#history .history')"
    ".dispatchEvent(new CustomEvent('made', {detail: made, bubbles: true})) }"
)
SENT_IMAGE = "() => window.pictureHandedOver"


def history() -> gr.HTML:
    """Return the history strip with its viewer.

    It triggers use_this with the settings of an image, and vary_this and mix_this with its checkpoint and class.
    """
    return gr.HTML(
        {
            "titles": {name: load_metadata(folder).titles for name, folder in model_folders().items()},
            "samplers": SAMPLER_TITLES,
            "settings": TITLES,
        },
        html_template=read_asset("sample/history.html"),
        js_on_load="\n".join(read_asset(f"sample/{name}") for name in SCRIPTS),
        apply_default_css=False,
        elem_id="history",
    )
