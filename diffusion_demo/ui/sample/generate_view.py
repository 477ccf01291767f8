"""Layout of Sample, Make: the form, with the preview and the gallery beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import gradio as gr
from gradio.blocks import BlockContext
from gradio.components import Component

from diffusion_demo.sampling.presets import (
    DEFAULT,
    GUIDANCE_START_PERCENT,
    PRESETS,
    SAMPLER_TITLES,
    USUAL_GUIDANCE_SCALE,
)
from diffusion_demo.ui.named_outputs import with_named_outputs
from diffusion_demo.ui.preview import showcase
from diffusion_demo.ui.preview.preview import (
    INSTANT_EVENT,
    PRIVATE_EVENT,
    dispatch_event,
    gallery,
    preview,
    start_stop_buttons,
)
from diffusion_demo.ui.sample import gpu_hint, quality, restore
from diffusion_demo.ui.sample.generate import GENERATE, generate
from diffusion_demo.ui.sample.request_form import MAX_FORM_SEED
from diffusion_demo.ui.sample.run_events import connect_run, random_seed
from diffusion_demo.ui.server.model_list import model_folders
from diffusion_demo.ui.settings import settings

SAMPLER_CHOICES = [(title, name) for name, title in reversed(SAMPLER_TITLES.items())]
KEYS = "Ctrl+Enter starts, Esc stops. Click an image to see it large; arrow keys or a swipe go to the next."


@dataclass(frozen=True, eq=False)
class SampleForm:
    """The components that other parts of the tab read or set.

    fields: the inputs of `generate`, by their names in the API. restored: the outputs of `restore.from_settings`.
    optional: the row of the guidance interval, the classifier scale and the doubling, which only some models support.
    """

    fields: dict[str, Component]
    restored: dict[str, Component]
    optional: Mapping[str, Component | BlockContext]
    start: gr.Button


class _SeedFields(NamedTuple):
    seed: gr.Number
    new_every_time: gr.Checkbox
    random: gr.Button
    reuse: gr.Button


class _Advanced(NamedTuple):
    sampler: gr.Radio
    steps: gr.Slider
    eta: gr.Slider
    guide_from: gr.Number
    guide_to: gr.Number
    interval_row: gr.Row
    classifier_scale: gr.Slider
    twice: gr.Checkbox


class _Results(NamedTuple):
    preview: gr.HTML
    gallery: gr.Gallery
    archive: gr.DownloadButton


def build(model: gr.Dropdown, label: gr.Dropdown) -> SampleForm:
    """Lay out Make and connect its events."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            count = gr.Slider(
                1, settings().images, 16, step=1, precision=0, label="Images", buttons=[], interactive=True
            )
            preset = quality.radio()
            guidance = _guidance_slider()
            seed = _seed_fields()
            with gr.Row(elem_classes="go"):
                start, stop = start_stop_buttons("generate")
            gr.Markdown(KEYS, elem_classes="hint keys")
            with gr.Accordion("More settings", open=False):
                advanced = _advanced_fields()
            dropped = gr.File(
                label="Settings from an image made here", file_types=[".png"], height=160, elem_id="restore"
            )
        results = _results()
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
    gpu_hint.lay_out(fields)
    restored = fields | {"new_every_time": seed.new_every_time, "preset": preset}
    quality.connect(preset, advanced.sampler, advanced.steps, advanced.eta)
    _connect_restore(dropped, restored)
    _connect_run(fields, seed, results, start, stop)
    optional = {"interval": advanced.interval_row} | {name: fields[name] for name in ("classifier_scale", "twice")}
    return SampleForm(fields, restored, optional, start)


def _connect_restore(dropped: gr.File, restored: dict[str, Component]) -> None:
    """Restore the form from a dropped file, and empty the drop zone."""
    outputs = restored | {"dropped": dropped}
    handler = with_named_outputs(restore.from_file, outputs)
    dropped.upload(handler, dropped, [*outputs.values()], **PRIVATE_EVENT, concurrency_limit=None)


def _connect_run(
    fields: dict[str, Component], seed: _SeedFields, results: _Results, start: gr.Button, stop: gr.Button
) -> None:
    """Connect the seed buttons, Generate and Stop."""
    last_seed = gr.State(0)
    seed.random.click(random_seed, None, seed.seed, **INSTANT_EVENT)
    seed.reuse.click(lambda last: (last, False), last_seed, [seed.seed, seed.new_every_time], **INSTANT_EVENT)
    start.click(None, None, None, js=dispatch_event("stage", "run-started"))
    stop.click(None, None, None, js=dispatch_event("stage", "run-stopped"))
    outputs = results._asdict() | {"last_seed": last_seed, "start": start, "stop": stop}
    connect_run(generate, "sample", GENERATE, fields, outputs, results.gallery, seed.new_every_time)


def _guidance_slider() -> gr.Slider:
    return gr.Slider(
        0,
        8,
        USUAL_GUIDANCE_SCALE,
        step=0.1,
        label="Guidance",
        info="1 is off. More sticks to the class.",
        buttons=[],
        interactive=True,
    )


def _seed_fields() -> _SeedFields:
    with gr.Group():
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_FORM_SEED, interactive=True)
        new_every_time = gr.Checkbox(True, label="New seed every time", interactive=True)
        with gr.Row(elem_id="seed-row"):
            random_button = gr.Button("Random seed", size="sm", min_width=80)
            reuse = gr.Button("Reuse last", size="sm", min_width=80)
    return _SeedFields(seed, new_every_time, random_button, reuse)


def _results() -> _Results:
    finished = showcase.read(next(iter(model_folders().values())))
    with gr.Column(scale=5, min_width=320, elem_classes="results"):
        return _Results(
            preview(finished.animation, "stage"),
            gallery(finished.files, "gallery"),
            gr.DownloadButton("Download all as zip", visible=False, size="sm", elem_id="zip"),
        )


def _advanced_fields() -> _Advanced:
    sampler = gr.Radio(
        SAMPLER_CHOICES,
        value=PRESETS[DEFAULT][0],
        label="Sampler",
        info="DPM-Solver++ is best at 8 to 20 steps, DDIM from 25. DDPM is the papers' own, for 100 and more.",
        interactive=True,
    )
    steps = gr.Slider(
        1,
        settings().steps,
        PRESETS[DEFAULT][1],
        step=1,
        precision=0,
        label="Steps",
        info="More is finer and slower.",
        buttons=[],
        interactive=True,
    )
    eta = gr.Slider(
        0,
        1,
        PRESETS[DEFAULT][2],
        step=0.05,
        label="Eta",
        info="Fresh noise in each step; DDPM has its own.",
        buttons=[],
        interactive=True,
    )
    return _Advanced(sampler, steps, eta, *_interval_fields(), *_second_model_fields())


def _interval_fields() -> tuple[gr.Number, gr.Number, gr.Row]:
    """Return the fields of the guidance interval and their row."""
    with gr.Row(elem_id="guide-within") as row:
        guide_from = gr.Number(
            GUIDANCE_START_PERCENT,
            label="Guided from",
            info="% of the noise",
            minimum=0,
            maximum=100,
            min_width=100,
            interactive=True,
        )
        guide_to = gr.Number(
            100, label="Guided to", info="100 is all noise", minimum=0, maximum=100, min_width=100, interactive=True
        )
    return guide_from, guide_to, row


def _second_model_fields() -> tuple[gr.Slider, gr.Checkbox]:
    """Return the fields that need a classifier and an upsampler."""
    classifier_scale = gr.Slider(
        0,
        10,
        0,
        step=0.1,
        label="Classifier guidance",
        info="0 is off. A second network says what looks like the class.",
        buttons=[],
        visible=False,
        interactive=True,
    )
    twice = gr.Checkbox(
        False, label="Twice the size", info="A second model enlarges the images.", visible=False, interactive=True
    )
    return classifier_scale, twice
