"""Sample, Compare: two settings against each other, and the grid beside them."""

from dataclasses import dataclass

import gradio as gr

from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.ui.preview.preview import buttons, idle, waiting
from diffusion_demo.ui.sample import history
from diffusion_demo.ui.sample.compare import COMPARE, MAX_PER_CELL, NONE, compare
from diffusion_demo.ui.sample.generate_view import SAMPLERS, Form
from diffusion_demo.ui.sample.request_form import MIXED, as_toasts
from diffusion_demo.ui.server.model_list import folder_of, models, titles

AXES = [
    ("sampler", "sampler"),
    ("network calls", "calls"),
    ("steps", "steps"),
    ("guidance", "guidance_scale"),
    ("classifier guidance", "classifier_scale"),
    ("eta", "eta"),
    ("seed", "seed"),
    ("class", "class"),
    ("model", "checkpoint"),
]
NUMBERS = {
    "calls": "8, 16, 32",
    "steps": "4, 8, 16",
    "guidance_scale": "1, 2, 4",
    "classifier_scale": "0, 1, 4",
    "eta": "0, 0.5, 1",
    "seed": "0, 1, 2, 3",
}
EQUAL = "Every cell asks the network equally often. A guided step costs two calls. All else is as under Make."
EMPTY = '<p class="nothing">Choose what the columns and the rows vary, and press Compare. The grid grows here, cell by cell.</p>'


@dataclass(frozen=True, eq=False)
class Side:
    """The columns' fields, or the rows'. typed holds the values, separated by commas; what is chosen is written there."""

    setting: gr.Dropdown
    typed: gr.Textbox
    chosen: gr.CheckboxGroup


def build(model: gr.Dropdown, label: gr.Dropdown, form: Form) -> gr.Button:
    """Lay out Compare and wire it. Returns its button that starts."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            sides = [_side("Columns", "calls", AXES), _side("Rows", "sampler", [*AXES, (NONE, NONE)])]
            calls = gr.Slider(
                1, 200, 16, step=1, precision=0, label="Network calls an image", buttons=[], interactive=True
            )
            per_cell = gr.Slider(
                1, MAX_PER_CELL, 4, step=1, precision=0, label="Images in a cell", buttons=[], interactive=True
            )
            gr.Markdown(EQUAL, elem_classes="hint")
            with gr.Row(elem_classes="go"):
                start, stop = both = buttons("compare")
        with gr.Column(scale=5, min_width=320):
            status = gr.HTML(EMPTY, elem_id="compare-status")
            grid = gr.Image(
                type="filepath",
                format="png",
                interactive=False,
                show_label=False,
                buttons=["download", "fullscreen"],
                elem_id="grid",
            )
    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    at_once = quiet | {"queue": False}
    for side in sides:
        side.setting.input(_values, [side.setting, model], [side.typed, side.chosen], **at_once)
        side.chosen.input(None, side.chosen, side.typed, js="(chosen) => chosen.join(', ')")
    run = start.click(waiting, None, both, **at_once).then(
        compare,
        [
            model,
            label,
            *(field for side in sides for field in (side.setting, side.typed)),
            calls,
            per_cell,
            *form.settings[3:11],
        ],
        [status, grid, *both],
        api_name="compare",
        concurrency_limit=None,
        show_progress="hidden",
    )
    run.success(None, grid, None, js=history.KEEP)
    run.failure(lambda: idle(COMPARE), None, both, **at_once)
    stopped = stop.click(lambda: idle(COMPARE), None, both, cancels=[run], **at_once)
    stopped.then(
        lambda: "Stopped; what was done stays.", None, status, **at_once
    )  # then: what the run said last may still be on its way
    return start


def _side(title: str, setting: str, axes: list[tuple[str, str]]) -> Side:
    numbers, samplers = NUMBERS.get(setting), [name for _, name in SAMPLERS]
    about = f"Values of the {title.lower()}"
    with gr.Group():
        return Side(
            gr.Dropdown(axes, value=setting, label=title, interactive=True),
            gr.Textbox(numbers or ", ".join(samplers), label=about, visible=bool(numbers), interactive=True),
            gr.CheckboxGroup(SAMPLERS, value=samplers, label=about, visible=not numbers, interactive=True),
        )


def _values(setting: str, model: str) -> list:
    """The two fields of a side for what it now varies: numbers are typed, names are chosen, some at first."""
    if setting in NUMBERS or setting == NONE:
        return [gr.Textbox(NUMBERS.get(setting, ""), visible=setting != NONE), gr.CheckboxGroup(visible=False)]
    with as_toasts():
        about = load_metadata(folder_of(model))
    classes = [(MIXED, MIXED), *((about.title(name), name) for name in about.class_names)]
    offered = {"sampler": SAMPLERS, "class": classes, "checkpoint": titles()}[setting]
    first = {"class": list(about.class_names[:3]) or [MIXED], "checkpoint": list(models())[:2]}.get(setting) or [
        name for _, name in offered
    ]
    return [gr.Textbox(", ".join(first), visible=False), gr.CheckboxGroup(offered, value=first, visible=True)]
