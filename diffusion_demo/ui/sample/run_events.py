"""Events of a run on the Sample tab: its start, its results, its end and Stop."""

import random
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from diffusion_demo.ui.named_outputs import with_named_outputs
from diffusion_demo.ui.preview.preview import INSTANT_EVENT, idle_buttons, waiting_buttons
from diffusion_demo.ui.sample import browser_history

RANDOM_SEEDS = 1_000_000


def random_seed() -> int:
    """Return a random seed below RANDOM_SEEDS."""
    return random.randrange(RANDOM_SEEDS)


def connect_run(
    handler: Callable,
    api_name: str,
    start_label: str,
    inputs: Mapping[str, Component],
    outputs: Mapping[str, Component],
    images: Component,
    new_seed: gr.Checkbox | None = None,
) -> Dependency:
    """Connect a run to the buttons `start` and `stop` of `outputs`, and return the event of Stop.

    handler: gets the inputs by name, which are those of the API too, and yields updates by the names of `outputs`.
    images: the output whose images go to the history. new_seed: whether each run draws a new seed for inputs["seed"].
    """
    buttons = {name: outputs[name] for name in ("start", "stop")}
    start: gr.Button = buttons["start"]  # pyright: ignore[reportAssignmentType]
    stop: gr.Button = buttons["stop"]  # pyright: ignore[reportAssignmentType]
    become_idle = with_named_outputs(lambda: idle_buttons(start_label), buttons)
    if new_seed is None:
        clicked = start.click(with_named_outputs(waiting_buttons, buttons), None, [*buttons.values()], **INSTANT_EVENT)
    else:
        seeded = buttons | {"seed": inputs["seed"]}
        begin = with_named_outputs(_begin, seeded)
        clicked = start.click(begin, [new_seed, inputs["seed"]], [*seeded.values()], **INSTANT_EVENT)
    run = clicked.then(
        with_named_outputs(handler, outputs),
        inputs_kwargs=dict(inputs),
        outputs=[*outputs.values()],
        api_name=api_name,
        concurrency_limit=None,
        show_progress="hidden",
    )
    run.success(None, images, None, js=browser_history.ADD_RESULTS)
    run.failure(become_idle, None, [*buttons.values()], **INSTANT_EVENT)
    return stop.click(become_idle, None, [*buttons.values()], cancels=[run], **INSTANT_EVENT)


def _begin(draw_seed: bool, seed: int) -> dict[str, Any]:
    return {"seed": random_seed() if draw_seed else seed} | waiting_buttons()
