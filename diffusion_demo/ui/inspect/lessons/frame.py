"""Frame around the figures of every lesson: its data attributes, notes, and the functions behind it."""

import base64
import uuid
from html import escape
from importlib import import_module

import torch

from diffusion_demo.diffusion.schedules import SCHEDULES, named_betas
from diffusion_demo.ui.inspect.lesson_functions import SHOWS
from diffusion_demo.ui.inspect.lessons.html import strip
from diffusion_demo.ui.inspect.lessons.scene import Scene

_MEMORIZES = (
    "for these 16 images, so it can only return them. A network that did the same would have memorized its training "
    "set. Small errors let a network create new images."
)
EXACT = {  # what an exact model is the optimal denoiser of
    "oracle-memory": _MEMORIZES,
    "oracle-mixture": _MEMORIZES.replace("return them", "return them, slightly blurred"),
    "oracle-gaussian": "for a Gaussian with the mean and covariance of these 16 images. It returns blends of them.",
    "oracle-pixels": "for independent pixels, each with its values in these 16 images. Its images have no shapes.",
}

AT_T = ("forward", "reverse", "training", "guidance")  # the lessons whose numbers are those of a step
_CLEAN = '<p class="found">t = 0 is the clean image, which has no step: the numbers below are those of t = 1.</p>'


def show(name: str, scene: Scene, model: str = "") -> str:
    """Return the figures and numbers of a lesson as HTML, by its name in words.LESSONS. `model` is as in `frame`."""
    return frame(name, scene, content(name, scene), model)


def content(name: str, scene: Scene) -> str:
    """Return the figures and numbers of a lesson alone."""
    return import_module(f"{__package__}.{name}").show(scene)


def frame(name: str, scene: Scene, content: str, model: str = "") -> str:
    """Return the HTML of a lesson with its content.

    Its data attributes tell the browser what it belongs to: lesson, t, number of timesteps, and the model's schedule,
    with its betas, float64 as base64, unless the schedule has a name; the name of the model for links, which is empty
    for the model that the page starts with; and a number of this answer.
    """
    schedule, betas = own_schedule(scene)
    attributes = {
        "lesson": name,
        "t": scene.t,
        "steps": len(scene.chain),
        "seed": scene.seed,
        "schedule": schedule,
        "betas": betas,
        "model": model,
        "answer": uuid.uuid4().hex,
    }
    data = " ".join(f'data-{key}="{escape(str(value))}"' for key, value in attributes.items())
    exact = _exact(scene, EXACT[model]) if model in EXACT else ""
    clean = _CLEAN if scene.is_clean and name in AT_T else ""
    return f'<section id="lesson-{name}" class="panel" {data}>{exact}{clean}{content}{_end(name)}</section>'


def _exact(scene: Scene, what: str) -> str:
    images = strip(scene.known, "The 16 images")
    text = f"<b>Exact model.</b> Not a neural network: the optimal denoiser {what}"
    return f'<div class="perfect"><p>{text}</p>{images}</div>'


def own_schedule(scene: Scene) -> tuple[str, str]:
    """Return the name of the model's schedule and "", or "own" and its betas as base64 if it is none of SCHEDULES."""
    name, betas = scene.checkpoint.beta_schedule, scene.chain.betas
    if name in SCHEDULES:
        try:
            if torch.allclose(named_betas(name, len(betas)), betas, rtol=1e-9, atol=0):
                return name, ""
        except ValueError:  # a schedule that is not defined for so few timesteps
            pass
    return "own", base64.b64encode(betas.numpy().tobytes()).decode()


def _end(name: str) -> str:
    """Return the functions of the package behind a lesson."""
    functions = ", ".join(f"<code>{function}</code>" for function, place in SHOWS.items() if place == name)
    return f'<p class="source">In code: {functions}. docs/equations.md lists each with its equation and its tests.</p>'
