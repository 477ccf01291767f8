"""The form of the Train tab: its fields as settings, what they would do, and the start."""

import html
import math
from functools import lru_cache
from pathlib import Path

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.models.description import ORACLES
from diffusion_demo.training.launch import arguments_of, launch
from diffusion_demo.training.run import RunFolder
from diffusion_demo.ui import choices, uploads, warmup
from diffusion_demo.ui.run_view import is_busy, run_called, run_names

SCRATCH = "a new small network"
LENGTHS = {"A first look, 3 minutes": 3, "A quarter of an hour": 15, "An hour": 60, "An evening, 4 hours": 240}


def starts() -> list[tuple[str, str]]:
    """What can be trained on: every model that is a network, and a new one."""
    return [(name, name) for name in [*(name for name in choices.models() if name not in ORACLES), SCRATCH]]


def _settings(data, start_from, length, size, batch, rate, flip, seed) -> dict:
    """The form as settings of TrainConfig. Raises BadInput for a field that cannot be read."""
    if batch is None or seed is None:
        raise BadInput("Fill in the batch size and the seed.")
    fresh = start_from == SCRATCH
    try:
        learning_rate = float(rate) if rate and rate.strip() else (5e-4 if fresh else 1e-4)
    except ValueError as error:
        raise BadInput(f"The learning rate must be a number such as 5e-4, not {rate!r}.") from error
    start = {"preset": "small", "image_size": int(size)} if fresh else {"init_from": str(choices.folder_of(start_from))}
    return {"data": data, **start, "batch_size": int(batch), "learning_rate": learning_rate, "flip": bool(flip), "seed": int(seed)}


def _config(*form):
    """What the form would train with. Raises BadInput for what cannot be."""
    from diffusion_demo.training.config import config_of

    return config_of(_settings(*form))


def check(data, *form):
    """A word on what Start would do, or why it cannot, and the button."""
    if not data:
        return "", gr.Button(interactive=False)
    warmup.wait()
    try:
        config = _config(data, *form)
    except BadInput as error:
        return f'<p class="problem">{html.escape(str(error))}</p>', gr.Button(interactive=False)
    start_from, length = form[0], form[1]
    pace = _pace(start_from, config.image_size, config.batch_size)
    seen = pace * 60 * LENGTHS[length]
    words = f"About {seen:,.0f} pictures will be seen in {LENGTHS[length]} minutes, at {pace:.0f} a second on this machine."
    return f"<p>{words}</p>", gr.Button(interactive=True)


@lru_cache(maxsize=32)
def _pace(start_from: str, size: int, batch_size: int) -> float:
    """Pictures a second that this machine trains on, timed once for each choice."""
    from diffusion_demo.diffusion.process import Diffusion
    from diffusion_demo.diffusion.schedules import named_betas
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.models.unet import build_unet
    from diffusion_demo.training.pace import images_per_second

    if start_from == SCRATCH:
        chain = Diffusion(named_betas("squaredcos_cap_v2", 1000), variance_type="learned_range")
        return images_per_second(build_unet("small", size, 3, learns_variance=True, num_classes=0), chain, batch_size)
    start = load_checkpoint(choices.folder_of(start_from))
    return images_per_second(start.unet, start.diffusion, batch_size)


def _steps_between_previews(pace: float, batch_size: int, minutes: int) -> int:
    """As many steps as pass in a twelfth of the time, and no fewer than half a minute's."""
    return max(20, math.ceil(max(30, 60 * minutes / 12) * pace / batch_size))


def start(*form):
    """Launch the trainer, unless one is at work. Returns the new run in the list, and a button at rest."""
    warmup.wait()
    try:
        if not form[0]:
            raise BadInput("Drop some pictures first.")
        config = _config(*form)
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error
    if any(map(is_busy, filter(None, map(run_called, run_names())))):
        raise gr.Error("A training is going on already; stop it first, or wait for its end.", print_exception=False)
    minutes = LENGTHS[form[2]]
    steps = _steps_between_previews(_pace(form[1], config.image_size, config.batch_size), config.batch_size, minutes)
    run = RunFolder(choices.RUNS / _new_name(Path(form[0]).stem))
    launch(run, arguments_of(run, _settings(*form) | {"sample_every": steps, "save_every": 2 * steps}, minutes))
    return gr.Dropdown(run_names(), value=run.path.name), gr.Button(interactive=False)


def _new_name(stem: str) -> str:
    """A name that no run has: the pictures' own, numbered."""
    stem, taken = uploads.safe_name(stem, "run"), set(run_names())
    return next(name for name in (f"{stem}-{i}" for i in range(1, 100_000)) if name not in taken)
