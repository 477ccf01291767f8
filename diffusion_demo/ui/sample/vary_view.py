"""Layout of Sample, Vary: variations of one image, or an interpolation between two."""

from dataclasses import dataclass
from typing import NamedTuple

import gradio as gr
from gradio.components import Component

from diffusion_demo.ui.preview import showcase
from diffusion_demo.ui.preview.preview import INSTANT_EVENT, dispatch_event, gallery, preview, start_stop_buttons
from diffusion_demo.ui.sample.generate_view import SampleForm
from diffusion_demo.ui.sample.request_form import MAX_FORM_SEED
from diffusion_demo.ui.sample.run_events import connect_run
from diffusion_demo.ui.sample.vary import MAX_VARIATIONS, MIX, VARY, interpolate, vary
from diffusion_demo.ui.server.model_list import model_folders

ONE, TWO = "Variations of one", "Between two"
EMPTY = {"frames": [], "empty": "Drop an image, or choose one below, and see what is near it."}
HOW_FAR = (
    "How much noise is put in, and taken out again. A little keeps the image, much only its colors, all of it nothing."
)


@dataclass(frozen=True, eq=False)
class VaryForm:
    """The components that the history sets: the mode and the two images; and the start buttons."""

    mode: gr.Radio
    one: gr.Image
    two: gr.Image
    starts: list[gr.Button]


class _Fields(NamedTuple):
    how_far: gr.Slider
    count: gr.Slider
    steps: gr.Slider
    seed: gr.Number
    new_seed: gr.Checkbox


class _Results(NamedTuple):
    preview: gr.HTML
    gallery: gr.Gallery
    archive: gr.DownloadButton


class _Buttons(NamedTuple):
    vary: gr.Button
    mix: gr.Button
    stop: gr.Button


def build(model: gr.Dropdown, label: gr.Dropdown, form: SampleForm) -> VaryForm:
    """Lay out Vary and connect its events."""
    paths = [path for path, _ in showcase.read(next(iter(model_folders().values()))).files[:2]] or [None, None]
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            mode = gr.Radio(
                [ONE, TWO], value=ONE, show_label=False, container=False, interactive=True, elem_id="vary-way"
            )
            with gr.Row(elem_id="vary-pictures"):
                one = _image("The image", paths[0], "vary-one")
                two = _image("The other", paths[-1], "vary-two", visible=False)
            how_far, count = _amount_fields()
            with gr.Row(elem_classes="go"):
                controls = _Buttons(*start_stop_buttons("vary", "mix"))
            with gr.Accordion("More settings", open=False):
                fields = _Fields(how_far, count, *_advanced_fields())
        results = _results()
    mode.change(_show_mode, mode, [two, controls.vary, controls.mix], **INSTANT_EVENT)
    inputs: dict[str, Component] = {
        "how_far": fields.how_far,
        "num_images": fields.count,
        "label": label,
        "guidance_scale": form.fields["guidance_scale"],
        "steps": fields.steps,
        "seed": fields.seed,
    }
    start_stop = dispatch_event("vary-stage", "run-started"), dispatch_event("vary-stage", "run-stopped")
    controls.stop.click(None, None, None, js=start_stop[1])
    one_image: dict[str, Component] = {"model": model, "picture": one}
    for start, handler, name, words, images in (
        (controls.vary, vary, "vary", VARY, one_image),
        (controls.mix, interpolate, "interpolate", MIX, one_image | {"other": two}),
    ):
        start.click(None, None, None, js=start_stop[0])
        outputs = results._asdict() | {"start": start, "stop": controls.stop}
        connect_run(handler, name, words, images | inputs, outputs, results.gallery, fields.new_seed)
    return VaryForm(mode, one, two, [controls.vary, controls.mix])


def _image(label: str, path: str | None, elem_id: str, visible: bool = True) -> gr.Image:
    image = gr.Image(
        path,
        label=label,
        type="filepath",
        sources=["upload", "clipboard"],
        format="png",
        height=150,
        min_width=120,
        buttons=[],
        visible=visible,
        interactive=True,
        elem_id=elem_id,
    )
    # The handler receives the original file: gradio would re-encode it without its settings, and fail without a message
    # for a file that is not an image.
    image.preprocess = lambda payload: payload and payload.path
    return image


def _amount_fields() -> tuple[gr.Slider, gr.Slider]:
    """Return the fields for the amount of noise and for the number of images."""
    how_far = gr.Slider(1, 100, 50, step=1, label="How far, %", buttons=[], interactive=True)
    count = gr.Slider(1, MAX_VARIATIONS, 8, step=1, precision=0, label="Number of images", buttons=[], interactive=True)
    gr.Markdown(HOW_FAR, elem_classes="hint")
    return how_far, count


def _advanced_fields() -> tuple[gr.Slider, gr.Number, gr.Checkbox]:
    """Return the fields for the steps, for the seed and for a new seed."""
    steps = gr.Slider(
        1,
        250,
        25,
        step=1,
        precision=0,
        label="Steps back",
        info="DDPM's; more is finer and slower.",
        buttons=[],
        interactive=True,
    )
    seed = gr.Number(
        0, label="Seed", precision=0, minimum=0, maximum=MAX_FORM_SEED, interactive=True, elem_id="vary-seed"
    )
    return steps, seed, gr.Checkbox(True, label="New seed every time", interactive=True)


def _results() -> _Results:
    with gr.Column(scale=5, min_width=320, elem_classes="results"):
        return _Results(
            preview(EMPTY, "vary-stage"),
            gallery([], "vary-gallery"),
            gr.DownloadButton("Download all as zip", visible=False, size="sm", elem_id="vary-zip"),
        )


def _show_mode(mode: str) -> list:
    """Return the updates of the second image and of the two start buttons."""
    return [gr.Image(visible=mode == TWO), gr.Button(visible=mode == ONE), gr.Button(visible=mode == TWO)]
