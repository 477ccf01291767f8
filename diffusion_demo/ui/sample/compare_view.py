"""Layout of Sample, Compare: two varied settings, with the grid beside them."""

from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.sampling.comparison import AXES, TITLES
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.preview.preview import INSTANT_EVENT, start_stop_buttons
from diffusion_demo.ui.sample.compare import COMPARE, MAX_PER_CELL, NONE, compare
from diffusion_demo.ui.sample.generate_view import SAMPLER_CHOICES, SampleForm
from diffusion_demo.ui.sample.request_form import MIXED, class_choices
from diffusion_demo.ui.sample.run_events import connect_run
from diffusion_demo.ui.server.model_list import folder_of, model_choices, model_folders

AXIS_CHOICES = [(TITLES.get(name, name), name) for name in AXES]
DEFAULT_VALUES = {
    "calls": "8, 16, 32",
    "steps": "4, 8, 16",
    "guidance_scale": "1, 2, 4",
    "classifier_scale": "0, 1, 4",
    "eta": "0, 0.5, 1",
    "seed": "0, 1, 2, 3",
}
EQUAL = "Every cell asks the network equally often. A guided step costs two calls. All else is as under Make."
EMPTY = (
    '<p class="nothing">Choose what the columns and the rows vary, and press Compare. '
    "The grid grows here, cell by cell.</p>"
)


@dataclass(frozen=True, eq=False)
class Side:
    """Fields of the columns or of the rows.

    typed: the values, separated by commas. chosen: a choice of names, which is copied to `typed` in the browser.
    """

    setting: gr.Dropdown
    typed: gr.Textbox
    chosen: gr.CheckboxGroup


def build(model: gr.Dropdown, label: gr.Dropdown, form: SampleForm) -> gr.Button:
    """Lay out Compare, connect its events and return its start button."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            sides = [_side("Columns", "calls", AXIS_CHOICES), _side("Rows", "sampler", [*AXIS_CHOICES, (NONE, NONE)])]
            calls = gr.Slider(
                1, 200, 16, step=1, precision=0, label="Network calls an image", buttons=[], interactive=True
            )
            per_cell = gr.Slider(
                1, MAX_PER_CELL, 4, step=1, precision=0, label="Images in a cell", buttons=[], interactive=True
            )
            gr.Markdown(EQUAL, elem_classes="hint")
            with gr.Row(elem_classes="go"):
                start, stop = start_stop_buttons("compare")
        status, grid = _results()
    for side in sides:
        side.setting.input(_value_fields, [side.setting, model], [side.typed, side.chosen], **INSTANT_EVENT)
        side.chosen.input(None, side.chosen, side.typed, js="(chosen) => chosen.join(', ')")
    across, down = sides
    inputs: dict[str, Component] = {
        "model": model,
        "label": label,
        "across": across.setting,
        "columns": across.typed,
        "down": down.setting,
        "rows": down.typed,
        "calls": calls,
        "per_cell": per_cell,
    }
    inputs |= {name: field for name, field in form.fields.items() if name not in (*inputs, "num_images", "twice")}
    outputs: dict[str, Component] = {"status": status, "grid": grid, "start": start, "stop": stop}
    stopped = connect_run(compare, "compare", COMPARE, inputs, outputs, grid)
    # in a second step, because the last update of the run may still arrive after the first
    stopped.then(lambda: "Stopped; what was done stays.", None, status, **INSTANT_EVENT)
    return start


def _results() -> tuple[gr.HTML, gr.Image]:
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
    return status, grid


def _side(title: str, setting: str, choices: list[tuple[str, str]]) -> Side:
    numbers, samplers = DEFAULT_VALUES.get(setting), [name for _, name in SAMPLER_CHOICES]
    label = f"Values of the {title.lower()}"
    with gr.Group():
        return Side(
            gr.Dropdown(choices, value=setting, label=title, interactive=True),
            gr.Textbox(numbers or ", ".join(samplers), label=label, visible=bool(numbers), interactive=True),
            gr.CheckboxGroup(SAMPLER_CHOICES, value=samplers, label=label, visible=not numbers, interactive=True),
        )


def _value_fields(setting: str, model: str) -> list:
    """Return the updates of the two value fields for a setting: numbers are typed, names are chosen."""
    if setting in DEFAULT_VALUES or setting == NONE:
        values = DEFAULT_VALUES.get(setting, "")
        return [gr.Textbox(values, visible=setting != NONE), gr.CheckboxGroup(visible=False)]
    with user_errors_as_toasts():
        metadata = load_metadata(folder_of(model))
    choices = {"sampler": SAMPLER_CHOICES, "class": class_choices(metadata), "checkpoint": model_choices()}[setting]
    selected = {"class": list(metadata.class_names[:3]) or [MIXED], "checkpoint": list(model_folders())[:2]}.get(
        setting
    )
    selected = selected or [name for _, name in choices]
    return [gr.Textbox(", ".join(selected), visible=False), gr.CheckboxGroup(choices, value=selected, visible=True)]
