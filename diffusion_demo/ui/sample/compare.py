"""A run of Sample, Compare: cell by cell into one labeled image, which is shown as far as it has come."""

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import has_classifier
from diffusion_demo.ui.preview.preview import idle, working
from diffusion_demo.ui.sample.compare_image import caption, drawn, settings_of
from diffusion_demo.ui.sample.request_form import as_toasts, number, parse_request
from diffusion_demo.ui.server import hf_space, limits, warmup
from diffusion_demo.ui.server.fair_queue import fair_queue
from diffusion_demo.ui.server.model_list import folder_of, models
from diffusion_demo.ui.settings import settings

COMPARE = "Compare"
NONE = "none"
MAX_PER_CELL = 4


@fair_queue(lambda words: (words, *[gr.skip()] * 3))
def compare(
    model: str,
    label: str,
    across: str,
    columns: str,
    down: str,
    rows: str,
    calls: int,
    per_cell: int,
    sampler: str,
    steps: int,
    guidance_scale: float,
    eta: float,
    seed: int,
    guide_from: float,
    guide_to: float,
    classifier_scale: float,
):
    """Fill a grid, yielding (status, image, and the two buttons) as it goes on."""
    warmup.wait()
    form = (sampler, steps, guidance_scale, eta, seed, guide_from, guide_to, classifier_scale)
    from diffusion_demo.images import save_png
    from diffusion_demo.sampling.comparison import fit_steps_to_calls, network_calls
    from diffusion_demo.sampling.generate import sample
    from diffusion_demo.ui.preview.progress_stream import duration, watch
    from diffusion_demo.ui.server.model_cache import load

    with as_toasts():
        plan = _plan(model, label, across, columns, down, rows, calls, per_cell, form)
        cells = plan.cells(lambda name: load_metadata(folder_of(name)))
        _check_classifiers(cells)
        for cell in cells:
            limits.check_sampling(
                cell.request.num_images * (len(cells) if settings().public else 1), cell.request.steps
            )
    skip, started, made = gr.skip(), time.monotonic(), {}
    works = [cell.calls or 2 * cell.request.steps for cell in cells]
    yield f"0 of {len(cells)} cells", None, *working()
    with TemporaryDirectory() as folder, as_toasts():
        for i, cell in enumerate(cells):
            home = folder_of(cell.checkpoint)
            checkpoint = load(home)
            request = fit_steps_to_calls(cell, checkpoint.diffusion)
            with closing(watch(hf_space.steps(sample, checkpoint, home, request))) as updates:
                for seen in updates:
                    step = seen[-1]
                    done = sum(works[:i]) + works[i] * step.index / step.total
                    left = (time.monotonic() - started) / done * (sum(works) - done)
                    yield (
                        f"Cell {i + 1} of {len(cells)}, step {step.index} of {step.total}, {duration(left)} left",
                        skip,
                        skip,
                        skip,
                    )
            made[cell.row, cell.column] = step.xt, caption(request, network_calls(request, checkpoint.diffusion))
            path = Path(folder) / f"compare_{i + 1:02d}.png"
            save_png(path, drawn(plan, made, checkpoint.description), settings_of(plan))
            if len(made) < len(cells):
                yield f"{len(made)} of {len(cells)} cells", str(path), skip, skip
        yield f"{len(cells)} cells in {duration(time.monotonic() - started)}.", str(path), *idle(COMPARE)


def _plan(model, label, across, columns, down, rows, calls, per_cell, form):
    from diffusion_demo.diffusion.samplers import SAMPLERS
    from diffusion_demo.sampling.comparison import ANY_CLASS, Comparison, axis

    about = load_metadata(folder_of(model))
    if not 1 <= number(per_cell, "images in a cell") <= MAX_PER_CELL:
        raise BadInput(f"A cell holds 1 to {MAX_PER_CELL} images, not {per_cell:g}.")
    known = {
        "sampler": list(SAMPLERS),
        "class": [ANY_CLASS, *about.class_names, *map(about.title, about.class_names)],
        "checkpoint": list(models()),
    }
    sides = [
        None if name in (None, NONE) else axis(name, words or "", known.get(name, ()))
        for name, words in ((across, columns), (down, rows))
    ]
    if sides[0] is None:
        raise BadInput("Choose what the columns vary.")
    base = parse_request(about, label, per_cell, *form)
    return Comparison(_taking_eta(base, sides), model, sides[0], sides[1], int(number(calls, "network calls")))


def _taking_eta(base, sides: list):
    """The request, with a sampler that eta means anything to where eta is compared and the sampler is not."""
    names = [side.name for side in sides if side]
    return (
        replace(base, sampler="ddim") if base.sampler == "ddpm" and "eta" in names and "sampler" not in names else base
    )


def _check_classifiers(cells: list) -> None:
    for cell in cells:
        if cell.request.classifier_scale and not has_classifier(folder_of(cell.checkpoint)):
            raise BadInput(f"{cell.checkpoint} has no classifier beside it; leave classifier guidance at 0.")
