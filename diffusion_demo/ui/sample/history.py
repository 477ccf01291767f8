"""What this browser made, kept in it and shown below the results; the viewer of one image; the keys."""

import gradio as gr

from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.paths import read_asset
from diffusion_demo.ui.server.model_list import models

SCRIPTS = ("history_store.js", "history_words.js", "viewer.js", "history.js")
# What a listener does in the browser when a run's images are there, and to take over an image from the viewer (viewer.js).
KEEP = "(made) => { document.querySelector('#history .history').dispatchEvent(new CustomEvent('made', {detail: made, bubbles: true})) }"
HANDED_OVER = "() => window.pictureHandedOver"


def history() -> gr.HTML:
    """The strip and its viewer. It triggers use_this with an image's settings, vary_this and mix_this with its checkpoint and class."""
    return gr.HTML(
        {"titles": {name: load_metadata(folder).titles for name, folder in models().items()}},
        html_template=read_asset("sample/history.html"),
        js_on_load="\n".join(read_asset(f"sample/{name}") for name in SCRIPTS),
        apply_default_css=False,
        elem_id="history",
    )
