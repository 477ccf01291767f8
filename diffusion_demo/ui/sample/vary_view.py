"""Sample, Vary: images near one, or between two."""

from dataclasses import dataclass

import gradio as gr

from diffusion_demo.ui.preview import showcase
from diffusion_demo.ui.preview.preview import buttons, gallery, idle, stage, tell, waiting
from diffusion_demo.ui.sample import history
from diffusion_demo.ui.sample.generate_view import Form, random_seed
from diffusion_demo.ui.sample.request_form import MAX_SEED
from diffusion_demo.ui.sample.vary import MAX_IMAGES, MIX, VARY, interpolate, vary
from diffusion_demo.ui.server.model_list import models

ONE, TWO = "Variations of one", "Between two"
EMPTY = {"frames": [], "empty": "Drop an image, or choose one below, and see what is near it."}
HOW_FAR = (
    "How much noise is put in, and taken out again. A little keeps the image, much only its colors, all of it nothing."
)


@dataclass(frozen=True, eq=False)
class Vary:
    """What the history sets: which way, and the two images; and the buttons that start."""

    way: gr.Radio
    one: gr.Image
    two: gr.Image
    starts: list[gr.Button]


def build(model: gr.Dropdown, label: gr.Dropdown, form: Form) -> Vary:
    """Lay out Vary and wire it."""
    made = [path for path, _ in showcase.read(next(iter(models().values()))).files[:2]] or [None, None]
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            way = gr.Radio(
                [ONE, TWO], value=ONE, show_label=False, container=False, interactive=True, elem_id="vary-way"
            )
            with gr.Row(elem_id="vary-pictures"):
                one = _image("The image", made[0], "vary-one")
                two = _image("The other", made[-1], "vary-two", visible=False)
            how_far = gr.Slider(1, 100, 50, step=1, label="How far, %", buttons=[], interactive=True)
            count = gr.Slider(
                1, MAX_IMAGES, 8, step=1, precision=0, label="Number of images", buttons=[], interactive=True
            )
            gr.Markdown(HOW_FAR, elem_classes="hint")
            with gr.Row(elem_classes="go"):
                start, mix, stop = buttons("vary", "mix")
            with gr.Accordion("More settings", open=False):
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
                    0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED, interactive=True, elem_id="vary-seed"
                )
                fresh = gr.Checkbox(True, label="New seed every time", interactive=True)
        with gr.Column(scale=5, min_width=320, elem_classes="results"):
            shown = stage(EMPTY, "vary-stage")
            images = gallery([], "vary-gallery")
            archive = gr.DownloadButton("Download all as zip", visible=False, size="sm", elem_id="vary-zip")
    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    at_once = quiet | {"queue": False}
    way.change(_turn, way, [two, start, mix], **at_once)
    runs = []
    for button, function, name, sources in (
        (start, vary, "vary", [one]),
        (mix, interpolate, "interpolate", [one, two]),
    ):
        button.click(None, None, None, js=tell("vary-stage", "run-started"))
        run = button.click(_begin, [fresh, seed], [seed, button, stop], **at_once).then(
            function,
            [model, *sources, how_far, count, label, form.guidance, steps, seed],
            [shown, images, archive, button, stop],
            api_name=name,
            concurrency_limit=None,
            show_progress="hidden",
        )
        run.success(None, images, None, js=history.KEEP)
        run.failure(_idle, None, [start, mix, stop], **at_once)
        runs.append(run)
    stop.click(None, None, None, js=tell("vary-stage", "run-stopped"))
    stop.click(_idle, None, [start, mix, stop], cancels=runs, **at_once)
    return Vary(way, one, two, [start, mix])


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
    # The file reaches the handler unread: its settings stay inside, and a broken one is told in words.
    image.preprocess = lambda payload: payload and payload.path
    return image


def _turn(way: str) -> list:
    return [gr.Image(visible=way == TWO), gr.Button(visible=way == ONE), gr.Button(visible=way == TWO)]


def _begin(draw: bool, seed: int):
    return random_seed() if draw else seed, *waiting()


def _idle() -> list:
    return [gr.Button(VARY, interactive=True), *idle(MIX)]
