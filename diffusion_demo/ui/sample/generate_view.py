"""Layout of Sample, Generate: the form, the stage with the results, and their events."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr
from gradio.blocks import BlockContext
from gradio.components import Component

from diffusion_demo.sampling.presets import DEFAULT, GUIDANCE_START_PERCENT, PRESETS, SAMPLER_TITLES
from diffusion_demo.sampling.request import Request
from diffusion_demo.ui.event_options import INSTANT_EVENT, PRIVATE_EVENT
from diffusion_demo.ui.named_outputs import with_named_outputs
from diffusion_demo.ui.preview import showcase
from diffusion_demo.ui.preview.preview import Downloads, dispatch_event, downloads, gallery, preview, start_stop_buttons
from diffusion_demo.ui.sample import gpu_cost_hint, quality, restore, words
from diffusion_demo.ui.sample.generate import generate
from diffusion_demo.ui.sample.request_form import MAX_FORM_SEED
from diffusion_demo.ui.sample.run_events import connect_run
from diffusion_demo.ui.server.model_list import model_folders
from diffusion_demo.ui.settings import settings

SAMPLER_CHOICES = [(title, name) for name, title in reversed(SAMPLER_TITLES.items())]
_SEED_PROBLEM = f'<p class="problem" role="alert">{words.SEED_INVALID.format(maximum=f"{MAX_FORM_SEED:,}")}</p>'
# JavaScript of an event listener: the sentence below the field of a seed that cannot be used, as soon as it is typed.
_SEED_CHECK = (
    "(seed, random) => random || (Number.isInteger(seed) && seed >= 0 && "
    f"seed <= {MAX_FORM_SEED}) ? '' : {json.dumps(_SEED_PROBLEM)}"
)


class SeedFields(NamedTuple):
    """The seed, the switch that draws a new one for each run, and the sentence for an invalid one."""

    seed: gr.Number
    randomize: gr.Checkbox
    problem: gr.HTML


class Results(NamedTuple):
    """The stage, its images and its downloads."""

    preview: gr.HTML
    gallery: gr.Gallery
    downloads: Downloads

    def outputs(self) -> dict[str, Component]:
        """Return the outputs of a run by name, in the order of the API."""
        return {"preview": self.preview, "gallery": self.gallery, "archive": self.downloads.archive}

    def later_outputs(self) -> dict[str, Component]:
        """Return the outputs that were added after release 0.1.0. They come last, so old API clients still work."""
        return {name: getattr(self.downloads, name) for name in ("sheet", "animation", "larger")}


@dataclass(frozen=True, eq=False)
class SampleForm:
    """The components that other parts of the tab read or set.

    fields: the inputs of `generate`, by their names in the API. restored: the outputs of `restore.from_settings`.
    optional: the row of the guidance interval, the classifier scale and the upscaling, which only some models support.
    """

    fields: dict[str, Component]
    restored: dict[str, Component]
    optional: Mapping[str, Component | BlockContext]
    seed: SeedFields
    reuse: gr.Button
    start: gr.Button
    stop: gr.Button


class _Advanced(NamedTuple):
    sampler: gr.Radio
    steps: gr.Slider
    eta: gr.Slider
    guide_from: gr.Number
    guide_to: gr.Number
    interval_row: gr.Row
    classifier_scale: gr.Slider
    twice: gr.Checkbox


def form(model: gr.Dropdown, label: gr.Radio) -> SampleForm:
    """Lay out the form of Generate."""
    count = gr.Slider(1, settings().images, 16, step=1, precision=0, label=words.IMAGES, buttons=[], interactive=True)
    preset = quality.radio()
    guidance = _guidance_slider()
    seed = seed_fields("seed")
    reuse = gr.Button(words.REUSE_SEED, size="sm", elem_id="reuse-seed")
    with gr.Accordion(words.MORE, open=False):
        advanced = _advanced_fields()
    with gr.Accordion(words.RESTORE, open=False, elem_id="restore-part"):
        dropped = gr.File(label=words.RESTORE_FILE, file_types=[".png"], height=120, elem_id="restore")
    with gr.Row(elem_classes="go"):
        start, stop = start_stop_buttons("generate")
    fields: dict[str, Component] = {
        "model": model,
        "label": label,
        "num_images": count,
        "sampler": advanced.sampler,
        "steps": advanced.steps,
        "guidance_scale": guidance,
        "eta": advanced.eta,
        "seed": seed.seed,
        "guide_from": advanced.guide_from,
        "guide_to": advanced.guide_to,
        "classifier_scale": advanced.classifier_scale,
        "twice": advanced.twice,
    }
    gpu_cost_hint.lay_out(fields)
    restored = fields | {"randomize": seed.randomize, "problem": seed.problem, "preset": preset}
    quality.connect(preset, advanced.sampler, advanced.steps, advanced.eta)
    _connect_restore(dropped, restored)
    optional = {"interval": advanced.interval_row} | {name: fields[name] for name in ("classifier_scale", "twice")}
    return SampleForm(fields, restored, optional, seed, reuse, start, stop)


def results() -> Results:
    """Lay out the stage of Generate, which replays the example of the first model."""
    example = showcase.read(next(iter(model_folders().values())))
    with gr.Column(elem_classes="results", elem_id="make-results"):
        return Results(preview(example.animation, "stage"), gallery(example.files, "gallery"), downloads("zip"))


def connect(form: SampleForm, results: Results) -> None:
    """Connect Generate, Stop and the button that brings the last seed back."""
    last_seed, seed = gr.State(0), form.seed
    form.reuse.click(lambda last: (last, False, ""), last_seed, [*seed], **INSTANT_EVENT)
    connect_stage(form.start, form.stop, "stage")
    outputs = results.outputs() | {"last_seed": last_seed, "start": form.start, "stop": form.stop}
    outputs |= results.later_outputs()
    connect_run(generate, "sample", words.GENERATE, form.fields, outputs, results.gallery, "stage", seed.randomize)


def connect_stage(start: gr.Button, stop: gr.Button, stage: str) -> None:
    """Tell the stage of the start and of the stop at once, in the browser."""
    start.click(None, None, None, js=dispatch_event(stage, "run-started"))
    stop.click(None, None, None, js=dispatch_event(stage, "run-stopped"))


def seed_fields(elem_id: str) -> SeedFields:
    """Lay out the fields of a seed, which says at once if it is invalid."""
    with gr.Group(elem_classes="seed"):
        seed = gr.Number(
            0,
            label=words.SEED,
            info=words.SEED_HINT,
            precision=0,
            minimum=0,
            maximum=MAX_FORM_SEED,
            interactive=True,
            elem_id=elem_id,
        )
        problem = gr.HTML(elem_classes="field-problem")
        randomize = gr.Checkbox(True, label=words.RANDOMIZE_SEED, interactive=True)
    inputs: Any = [seed, randomize]
    # A seed that somebody types is a seed that they want.
    seed.input(None, None, randomize, js="() => false").then(None, inputs, problem, js=_SEED_CHECK)
    randomize.input(None, inputs, problem, js=_SEED_CHECK)
    return SeedFields(seed, randomize, problem)


def _connect_restore(dropped: gr.File, restored: dict[str, Component]) -> None:
    """Restore the form from a dropped file, and empty the drop zone, also after a file that was refused."""
    outputs = restored | {"dropped": dropped}
    handler = with_named_outputs(restore.from_file, outputs)
    uploaded = dropped.upload(handler, dropped, [*outputs.values()], **PRIVATE_EVENT, concurrency_limit=None)
    uploaded.failure(lambda: None, None, dropped, **INSTANT_EVENT)


def _guidance_slider() -> gr.Slider:
    return gr.Slider(
        0,
        8,
        Request.guidance_scale,
        step=0.1,
        label=words.GUIDANCE,
        info=words.GUIDANCE_HINT,
        buttons=[],
        interactive=True,
    )


def _advanced_fields() -> _Advanced:
    usual_sampler, usual_steps, usual_eta = PRESETS[DEFAULT]
    sampler = gr.Radio(
        SAMPLER_CHOICES, value=usual_sampler, label=words.SAMPLER, info=words.SAMPLER_HINT, interactive=True
    )
    steps = gr.Slider(
        1,
        settings().steps,
        usual_steps,
        step=1,
        precision=0,
        label=words.STEPS,
        info=words.STEPS_HINT,
        buttons=[],
        interactive=True,
    )
    eta = gr.Slider(0, 1, usual_eta, step=0.05, label=words.ETA, info=words.ETA_HINT, buttons=[], interactive=True)
    return _Advanced(sampler, steps, eta, *_interval_fields(), *_second_model_fields())


def _interval_fields() -> tuple[gr.Number, gr.Number, gr.Row]:
    """Return the fields of the guidance interval and their row."""
    with gr.Row(elem_id="guide-within") as row:
        guide_from, guide_to = (
            gr.Number(value, label=label, info=info, minimum=0, maximum=100, min_width=100, interactive=True)
            for value, label, info in (
                (GUIDANCE_START_PERCENT, words.GUIDE_FROM, words.GUIDE_FROM_HINT),
                (100, words.GUIDE_TO, words.GUIDE_TO_HINT),
            )
        )
    return guide_from, guide_to, row


def _second_model_fields() -> tuple[gr.Slider, gr.Checkbox]:
    """Return the fields that need a classifier and an upsampler."""
    classifier_scale = gr.Slider(
        0,
        10,
        0,
        step=0.1,
        label=words.CLASSIFIER,
        info=words.CLASSIFIER_HINT,
        buttons=[],
        visible=False,
        interactive=True,
    )
    twice = gr.Checkbox(False, label=words.UPSCALE, info=words.UPSCALE_HINT, visible=False, interactive=True)
    return classifier_scale, twice
