"""Sample, Make: the form, and the stage beside it."""

import random
from dataclasses import dataclass

import gradio as gr

from diffusion_demo.sampling.presets import DEFAULT, GUIDANCE_START_PERCENT, PRESETS
from diffusion_demo.ui.preview import showcase
from diffusion_demo.ui.preview.preview import buttons, gallery, idle, stage, tell, waiting
from diffusion_demo.ui.sample import history, quality, restore
from diffusion_demo.ui.sample.generate import GENERATE, generate
from diffusion_demo.ui.sample.request_form import MAX_SEED
from diffusion_demo.ui.server.model_list import models
from diffusion_demo.ui.settings import settings

SAMPLERS = [("DPM-Solver++", "dpm_solver"), ("DDIM", "ddim"), ("DDPM", "ddpm")]
DICE_SIDES = 1_000_000
KEYS = "Ctrl+Enter starts, Esc stops. Click an image to see it large; arrow keys or a swipe go to the next."


@dataclass(frozen=True, eq=False)
class Form:
    """The fields that other parts of the tab read or set: all in the order of making.generate and of restoring.from_settings."""

    settings: list[gr.components.Component]
    restored: list[gr.components.Component]
    rare: list[gr.blocks.Block]
    guidance: gr.Slider
    start: gr.Button


def build(model: gr.Dropdown, label: gr.Dropdown) -> Form:
    """Lay out Make and wire it."""
    finished = showcase.read(next(iter(models().values())))
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            count = gr.Slider(
                1, settings().images, 16, step=1, precision=0, label="Images", buttons=[], interactive=True
            )
            word = quality.radio()
            guidance = gr.Slider(
                0,
                8,
                2.0,
                step=0.1,
                label="Guidance",
                info="1 is off. More sticks to the class.",
                buttons=[],
                interactive=True,
            )
            with gr.Group():
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED, interactive=True)
                fresh = gr.Checkbox(True, label="New seed every time", interactive=True)
                with gr.Row(elem_id="seed-row"):
                    dice = gr.Button("Random seed", size="sm", min_width=80)
                    reuse = gr.Button("Reuse last", size="sm", min_width=80)
            with gr.Row(elem_classes="go"):
                start, stop = both = buttons("generate")
            gr.Markdown(KEYS, elem_classes="hint keys")
            with gr.Accordion("More settings", open=False):
                sampler, steps, eta, guide_from, guide_to, within, classifier_scale, twice = _rare()
            dropped = gr.File(
                label="Settings from an image made here", file_types=[".png"], height=160, elem_id="restore"
            )
        with gr.Column(scale=5, min_width=320, elem_classes="results"):
            shown = stage(finished.animation, "stage")
            results = gallery(finished.files, "gallery")
            archive = gr.DownloadButton("Download all as zip", visible=False, size="sm", elem_id="zip")
    last_seed = gr.State(0)
    fields = [model, label, count, sampler, steps, guidance, eta, seed, guide_from, guide_to, classifier_scale, twice]
    restored = [*fields, fresh, word]

    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    at_once = quiet | {"queue": False}
    quality.wire(word, sampler, steps, eta)
    dice.click(random_seed, None, seed, **at_once)
    reuse.click(lambda last: (last, False), last_seed, [seed, fresh], **at_once)
    dropped.upload(restore.from_file, dropped, [*restored, dropped], **quiet, concurrency_limit=None)
    start.click(None, None, None, js=tell("stage", "run-started"))
    run = start.click(_begin, [fresh, seed], [seed, *both], **at_once).then(
        generate,
        fields,
        [shown, results, archive, last_seed, *both],
        api_name="sample",
        concurrency_limit=None,
        show_progress="hidden",
    )
    run.success(None, results, None, js=history.KEEP)
    run.failure(lambda: idle(GENERATE), None, both, **at_once)
    stop.click(None, None, None, js=tell("stage", "run-stopped"))
    stop.click(lambda: idle(GENERATE), None, both, cancels=[run], **at_once)
    return Form(fields, restored, [within, classifier_scale, twice], guidance, start)


def _rare() -> tuple:
    """What few people change."""
    sampler = gr.Radio(
        SAMPLERS,
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
    with gr.Row(elem_id="guide-within") as within:
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
    return sampler, steps, eta, guide_from, guide_to, within, classifier_scale, twice


def random_seed() -> int:
    return random.randrange(DICE_SIDES)


def _begin(draw, seed):
    return random_seed() if draw else seed, *waiting()
