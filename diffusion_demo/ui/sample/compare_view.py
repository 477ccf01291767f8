"""Layout of Sample, Compare: two varied settings, with the grid beside them."""

import json
from dataclasses import dataclass
from typing import NamedTuple

import gradio as gr
from gradio.components import Component

from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.sampling.comparison import AXES, TITLES
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.event_options import INSTANT_EVENT, INSTANT_LATEST_EVENT
from diffusion_demo.ui.preview.preview import start_stop_buttons
from diffusion_demo.ui.sample import words
from diffusion_demo.ui.sample.compare import MAX_PER_CELL, NONE, compare
from diffusion_demo.ui.sample.generate_view import SAMPLER_CHOICES, SampleForm
from diffusion_demo.ui.sample.request_form import MIXED, class_choices, class_values
from diffusion_demo.ui.sample.run_events import connect_run
from diffusion_demo.ui.server.model_list import folder_of, model_choices, model_folders

AXIS_CHOICES = [(TITLES.get(name, name).capitalize(), name) for name in AXES]
NO_AXIS = (NONE.capitalize(), NONE)
DEFAULT_VALUES = {
    "calls": "8, 16, 32",
    "steps": "4, 8, 16",
    "guidance_scale": "1, 2, 4",
    "classifier_scale": "0, 1, 4",
    "eta": "0, 0.5, 1",
    "seed": "0, 1, 2, 3",
}
EMPTY = f'<p class="nothing">{words.COMPARE_EMPTY}</p>'


@dataclass(frozen=True, eq=False)
class AxisFields:
    """Fields of the columns or of the rows.

    typed: the values, separated by commas. chosen: a choice of names, which is copied to `typed` in the browser.
    """

    setting: gr.Dropdown
    typed: gr.Textbox
    chosen: gr.CheckboxGroup


@dataclass(frozen=True, eq=False)
class CompareForm:
    """The fields of the columns, the rows and the cost of a cell, and the buttons."""

    across: AxisFields
    down: AxisFields
    calls: gr.Slider
    per_cell: gr.Slider
    hint: gr.Markdown
    start: gr.Button
    stop: gr.Button


class CompareResults(NamedTuple):
    """The line above the grid, and the grid."""

    status: gr.HTML
    grid: gr.Image


def form() -> CompareForm:
    """Lay out the form of Compare."""
    across = _side(words.COLUMNS, words.COLUMN_VALUES, "calls", AXIS_CHOICES)
    down = _side(words.ROWS, words.ROW_VALUES, "sampler", [*AXIS_CHOICES, NO_AXIS])
    calls = gr.Slider(1, 200, 16, step=1, precision=0, label=words.CALLS, buttons=[], interactive=True, visible=False)
    per_cell = gr.Slider(1, MAX_PER_CELL, 4, step=1, precision=0, label=words.PER_CELL, buttons=[], interactive=True)
    hint = gr.Markdown(_cost_of("calls", "sampler"), elem_classes="hint")
    with gr.Row(elem_classes="go"):
        start, stop = start_stop_buttons("compare")
    return CompareForm(across, down, calls, per_cell, hint, start, stop)


def results() -> CompareResults:
    """Lay out the grid and the line above it."""
    with gr.Column(elem_classes="results", elem_id="compare-results"):
        status = gr.HTML(EMPTY, elem_id="compare-status")
        grid = gr.Image(
            type="filepath",
            format="png",
            interactive=False,
            show_label=False,
            buttons=["download", "fullscreen"],
            elem_id="grid",
        )
    return CompareResults(status, grid)


# The status after a failure, which a stop is as well. Without a grid it is the invitation again.
_CLEARED = f"""() => {{
  const stopped = {json.dumps(words.COMPARE_STOPPED)}, isDrawn = document.querySelector("#grid img");
  if (document.querySelector("#compare-status").textContent.includes(stopped)) return stopped;
  return isDrawn ? "" : {json.dumps(EMPTY)};
}}"""


def connect(
    model: gr.Dropdown, label: gr.Radio, sample_form: SampleForm, form: CompareForm, results: CompareResults
) -> None:
    """Connect the events of Compare."""
    sides = (form.across, form.down)
    settings = [side.setting for side in sides]
    for side in sides:
        side.setting.input(_value_fields, [side.setting, model], [side.typed, side.chosen], **INSTANT_LATEST_EVENT)
        side.setting.input(_cost_fields, settings, [form.calls, form.hint], **INSTANT_LATEST_EVENT)
        model.change(_names_of_model, [side.setting, model], [side.typed, side.chosen], **INSTANT_LATEST_EVENT)
        side.chosen.input(None, side.chosen, side.typed, js="(chosen) => chosen.join(', ')")
    inputs: dict[str, Component] = {
        "model": model,
        "label": label,
        "across": form.across.setting,
        "columns": form.across.typed,
        "down": form.down.setting,
        "rows": form.down.typed,
        "calls": form.calls,
        "per_cell": form.per_cell,
    }
    inputs |= {
        name: field for name, field in sample_form.fields.items() if name not in (*inputs, "num_images", "twice")
    }
    outputs: dict[str, Component] = {**results._asdict(), "start": form.start, "stop": form.stop}
    run, stopped = connect_run(compare, "compare", words.COMPARE, inputs, outputs, results.grid)
    run.failure(None, None, results.status, js=_CLEARED)
    # in a second step, because the last update of the run may still arrive after the first
    stopped.then(lambda: words.COMPARE_STOPPED, None, results.status, **INSTANT_EVENT)


def _side(title: str, values_title: str, setting: str, choices: list[tuple[str, str]]) -> AxisFields:
    numbers, samplers = DEFAULT_VALUES.get(setting), [name for _, name in SAMPLER_CHOICES]
    with gr.Group():
        return AxisFields(
            gr.Dropdown(choices, value=setting, label=title, interactive=True),
            gr.Textbox(numbers or ", ".join(samplers), label=values_title, visible=bool(numbers), interactive=True),
            gr.CheckboxGroup(
                SAMPLER_CHOICES, value=samplers, label=values_title, visible=not numbers, interactive=True
            ),
        )


def _cost_of(across: str, down: str) -> str:
    """Return the sentence on the network calls of a cell."""
    if "steps" in (across, down):
        return words.COST_OF_STEPS
    if "calls" in (across, down):
        return words.COST_OF_CALLS.format(side="column" if across == "calls" else "row")
    return words.EQUAL_COST


def _cost_fields(across: str, down: str) -> list:
    """Return the updates of the calls per image, which an axis may replace, and of the sentence on the cost."""
    return [gr.Slider(visible=not {"steps", "calls"} & {across, down}), _cost_of(across, down)]


def _names_of_model(setting: str, model: str) -> list:
    """Return the updates of the two value fields after another model was chosen, which may have other classes."""
    return _value_fields(setting, model) if setting == "class" else [gr.skip(), gr.skip()]


def _value_fields(setting: str | None, model: str) -> list:
    """Return the updates of the two value fields for a setting: numbers are typed, names are chosen."""
    if setting is None:
        return [gr.skip(), gr.skip()]
    if setting in DEFAULT_VALUES or setting == NONE:
        values = DEFAULT_VALUES.get(setting, "")
        return [gr.Textbox(values, visible=setting != NONE), gr.CheckboxGroup(visible=False)]
    with user_errors_as_toasts():
        metadata = load_metadata(folder_of(model))
    choices = {"sampler": SAMPLER_CHOICES, "class": class_choices(metadata), "checkpoint": model_choices()}[setting]
    selected = {"class": class_values(metadata)[1:4] or [MIXED], "checkpoint": list(model_folders())[:2]}.get(setting)
    selected = selected or [name for _, name in choices]
    return [gr.Textbox(", ".join(selected), visible=False), gr.CheckboxGroup(choices, value=selected, visible=True)]
