"""Layout of Sample, Variations: variations of one image, or a blend of two, with their stage and events."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import gradio as gr
from gradio.components import Component

from diffusion_demo.models.metadata import ORACLES
from diffusion_demo.ui.event_options import INSTANT_EVENT, INSTANT_LATEST_EVENT, PRIVATE_EVENT
from diffusion_demo.ui.preview import showcase
from diffusion_demo.ui.preview.preview import downloads, gallery, preview, start_stop_buttons
from diffusion_demo.ui.sample import words
from diffusion_demo.ui.sample.generate_view import Results, SampleForm, SeedFields, connect_stage, seed_fields
from diffusion_demo.ui.sample.run_events import connect_run
from diffusion_demo.ui.sample.vary import MAX_VARIATIONS, interpolate, unreadable_images_removed, vary
from diffusion_demo.ui.server.model_list import DEFAULT_MODEL, folder_of, model_folders

EMPTY = {"frames": [], "empty": words.VARY_EMPTY}


class _Buttons(NamedTuple):
    vary: gr.Button
    blend: gr.Button
    stop: gr.Button


@dataclass(frozen=True, eq=False)
class VaryForm:
    """The components that the history sets, the mode and the two images; the fields and the buttons."""

    mode: gr.Radio
    one: gr.Image
    two: gr.Image
    how_far: gr.Slider
    count: gr.Slider
    steps: gr.Slider
    seed: SeedFields
    buttons: _Buttons

    @property
    def starts(self) -> list[gr.Button]:
        """The start buttons of both modes."""
        return [self.buttons.vary, self.buttons.blend]


def form() -> VaryForm:
    """Lay out the form of Variations."""
    first, second = _examples(next(iter(model_folders())))
    mode = gr.Radio(
        [words.ONE, words.TWO],
        value=words.ONE,
        show_label=False,
        container=False,
        interactive=True,
        elem_id="vary-way",
        elem_classes="segments",
    )
    with gr.Row(elem_id="vary-images"):
        one = _image(words.IMAGE, first, "vary-one")
        two = _image(words.SECOND, second, "vary-two", visible=False)
    how_far = gr.Slider(
        1, 100, 50, step=1, label=words.STRENGTH, info=words.STRENGTH_HINT, buttons=[], interactive=True
    )
    count = gr.Slider(
        1, MAX_VARIATIONS, 8, step=1, precision=0, label=words.NUMBER_OF_IMAGES, buttons=[], interactive=True
    )
    with gr.Accordion(words.MORE, open=False):
        steps = gr.Slider(
            1,
            250,
            25,
            step=1,
            precision=0,
            label=words.DENOISING_STEPS,
            info=words.DENOISING_STEPS_HINT,
            buttons=[],
            interactive=True,
        )
        seed = seed_fields("vary-seed")
    with gr.Row(elem_classes="go"):
        buttons = _Buttons(*start_stop_buttons("vary", "blend"))
    return VaryForm(mode, one, two, how_far, count, steps, seed, buttons)


def results() -> Results:
    """Lay out the stage of Variations."""
    with gr.Column(elem_classes="results", elem_id="vary-results"):
        return Results(preview(EMPTY, "vary-stage"), gallery([], "vary-gallery"), downloads("vary-zip"))


def connect(model: gr.Dropdown, label: gr.Radio, sample_form: SampleForm, form: VaryForm, results: Results) -> None:
    """Connect the events of Variations."""
    shown = [form.one, form.two, form.buttons.vary, form.buttons.blend]
    form.mode.change(_show_mode, form.mode, shown, **INSTANT_EVENT)
    for image in (form.one, form.two):
        image.upload(unreadable_images_removed, image, image, **PRIVATE_EVENT)
    inputs: dict[str, Component] = {
        "how_far": form.how_far,
        "num_images": form.count,
        "label": label,
        "guidance_scale": sample_form.fields["guidance_scale"],
        "steps": form.steps,
        "seed": form.seed.seed,
    }
    one_image: dict[str, Component] = {"model": model, "picture": form.one}
    for start, handler, name, title, images in (
        (form.buttons.vary, vary, "vary", words.VARY, one_image),
        (form.buttons.blend, interpolate, "interpolate", words.BLEND, one_image | {"other": form.two}),
    ):
        connect_stage(start, form.buttons.stop, "vary-stage")
        outputs = results.outputs() | {"start": start, "stop": form.buttons.stop} | results.later_outputs()
        connect_run(handler, name, title, images | inputs, outputs, results.gallery, "vary-stage", form.seed.randomize)


def connect_examples(model: gr.Dropdown, form: VaryForm) -> None:
    """Show images of the chosen model's own kind in place of those of the model before."""
    examples, images = gr.State(_examples(next(iter(model_folders())))), [form.one, form.two]
    model.change(_show_examples, [model, examples, *images], [examples, *images], **INSTANT_LATEST_EVENT)


def _show_examples(model: str, previous: tuple[str | None, ...], *shown: str | None) -> list:
    """Return the paths of the model's examples and the updates of both fields.

    A field keeps an image that is not the `previous` example, because the visitor has chosen it.
    """
    examples = _examples(model)
    updates = [
        new if _same_file(path, old) else gr.skip() for path, old, new in zip(shown, previous, examples, strict=True)
    ]
    return [examples, *updates]


def _same_file(path: str | None, other: str | None) -> bool:
    return Path(path).read_bytes() == Path(other).read_bytes() if path and other else path == other


def _examples(model: str) -> tuple[str | None, ...]:
    """Return the paths of two example images for a model; None for a model without any."""
    bundled = DEFAULT_MODEL if model in ORACLES else model
    first, second, *_ = [path for path, _ in showcase.read(folder_of(bundled)).files] or [None, None]
    return first, second


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


def _show_mode(mode: str) -> list:
    """Return the updates of the two images and of the two start buttons."""
    blend = mode == words.TWO
    return [
        gr.Image(label=words.FIRST if blend else words.IMAGE),
        gr.Image(visible=blend),
        gr.Button(visible=not blend),
        gr.Button(visible=blend),
    ]
