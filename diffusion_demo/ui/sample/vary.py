"""Make variations on the Sample tab: add noise to one image and denoise it, or interpolate between two images."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.preview.downloads import write_images, write_zip_of
from diffusion_demo.ui.preview.preview import idle_buttons, working_buttons
from diffusion_demo.ui.sample.request_form import parse_class, require_number
from diffusion_demo.ui.server import hf_space, limits, warmup
from diffusion_demo.ui.server.fair_queue import in_fair_queue
from diffusion_demo.ui.server.model_list import folder_of

if TYPE_CHECKING:
    from torch import Tensor

    from diffusion_demo.diffusion.samplers import Step
    from diffusion_demo.models.checkpoint import Checkpoint
    from diffusion_demo.models.metadata import CheckpointMetadata
    from diffusion_demo.sampling.variations import Variation

VARY, MIX = "Make variations", "Mix them"
MAX_VARIATIONS = 16


@dataclass(frozen=True, eq=False)
class _Run:
    """A checked request with its model and source images.

    sampler: variations.vary or .mix. sources: images, float [1, C, S, S] in [-1, 1], each with its settings, if known.
    """

    made_by: str
    sampler: Callable
    model: str
    folder: Path
    checkpoint: "Checkpoint"
    variation: "Variation"
    sources: "list[tuple[Tensor, dict | None]]"

    @property
    def total_steps(self) -> int:
        """Number of sampling steps."""
        return len(self.variation.chain(self.checkpoint.diffusion))


def _waiting(words: str) -> tuple:
    return *[gr.skip()] * 3, gr.Button(words, interactive=False), gr.Button(interactive=True)


@in_fair_queue(_waiting)
def vary(
    model: str, picture: str, how_far: float, num_images: int, label: str, guidance_scale: float, steps: int, seed: int
):
    """Make variations of an image and yield updates of (preview, gallery, zip file, start button, Stop button)."""
    warmup.wait()
    from diffusion_demo.sampling import variations

    form = (how_far, num_images, label, guidance_scale, steps, seed)
    yield from _vary("vary", variations.vary, VARY, model, [picture], form)


@in_fair_queue(_waiting)
def interpolate(
    model: str,
    picture: str,
    other: str,
    how_far: float,
    num_images: int,
    label: str,
    guidance_scale: float,
    steps: int,
    seed: int,
):
    """Interpolate between two images and yield updates of (preview, gallery, zip file, start button, Stop button)."""
    warmup.wait()
    from diffusion_demo.sampling import variations

    form = (how_far, num_images, label, guidance_scale, steps, seed)
    yield from _vary("interpolate", variations.mix, MIX, model, [picture, other], form)


def _vary(
    made_by: str, sampler: Callable, start_label: str, model: str, files: list[str], form: tuple
) -> Iterator[tuple]:
    """Run `sampler` on the image files and yield the updates."""
    with user_errors_as_toasts():
        run = _prepare(made_by, sampler, model, files, form)
    skip, started = gr.skip(), time.monotonic()
    yield {"frames": [], "empty": f"Step 0 of {run.total_steps}"}, skip, skip, *working_buttons()
    frames = []
    with user_errors_as_toasts():
        last = yield from _sample(run, frames, started)
    yield from _finish(run, frames, last, time.monotonic() - started, start_label)


def _prepare(made_by: str, sampler: Callable, model: str, files: list[str], form: tuple) -> _Run:
    """Load the model, check the form and read the images. Raises BadInput."""
    from diffusion_demo.ui.server.model_cache import load

    folder = folder_of(model)
    checkpoint = load(folder)
    variation = _parse(checkpoint.description, *form)
    sources = [_read(path, checkpoint.description) for path in files]
    return _Run(made_by, sampler, model, folder, checkpoint, variation, sources)


def _parse(
    metadata: "CheckpointMetadata",
    how_far: float | None,
    num_images: float | None,
    label: str | None,
    guidance_scale: float,
    steps: float | None,
    seed: float | None,
) -> "Variation":
    """Parse and check the form. Raises BadInput."""
    from diffusion_demo.runtime.device import resolve_precision
    from diffusion_demo.sampling.variations import Variation
    from diffusion_demo.ui.server.model_cache import device

    count = require_number(num_images, "number of images")
    if not 1 <= count <= MAX_VARIATIONS:
        raise BadInput(f"This page cannot make {count:g} images at a time here. Choose from 1 to {MAX_VARIATIONS}.")
    class_index = parse_class(label, metadata)
    how_far = float(require_number(how_far, "amount of noise in percent"))
    variation = Variation(
        int(count),
        how_far,
        int(require_number(steps, "number of steps")),
        int(require_number(seed, "seed")),
        class_index,
        float(guidance_scale) if class_index is not None else 1.0,
        resolve_precision("auto", device()),
    )
    variation.check(metadata)
    limits.check_sampling(variation.num_images, variation.steps)
    return variation


def _sample(run: _Run, frames: list[dict], started: float) -> "Generator[tuple, None, Step]":
    """Sample, append the recorded frames to `frames`, yield live updates, and return the last step."""
    from diffusion_demo.ui.preview.frames import frame, make_animation, recorded_steps
    from diffusion_demo.ui.preview.progress_stream import duration, watch

    skip, total = gr.skip(), run.total_steps
    recorded = recorded_steps(total, run.variation.num_images * run.checkpoint.description.image_size**2)
    images = [x0 for x0, _ in run.sources]
    step = None
    with closing(
        watch(hf_space.steps(run.sampler, run.checkpoint, run.folder, *images, run.variation), recorded)
    ) as updates:
        for new_steps in updates:
            frames += [frame(step) for step in new_steps]
            step = new_steps[-1]
            if step.index < total:
                remaining = duration((time.monotonic() - started) / step.index * (total - step.index))
                status = f"Step {step.index} of {total}, {remaining} left"
                yield make_animation(frames[-1:], total, status, live=True), skip, skip, skip, skip
    assert step is not None, "a sampler yields at least one step"
    return step


def _finish(run: _Run, frames: list[dict], last: "Step", seconds: float, start_label: str) -> Iterator[tuple]:
    """Write the images and yield the final update."""
    from diffusion_demo.sampling.variations import settings_of
    from diffusion_demo.ui.preview.frames import make_animation
    from diffusion_demo.ui.preview.progress_stream import duration

    seed = run.variation.seed
    status = f"{run.variation.num_images} images in {duration(seconds)}, seed {seed}."
    source_settings = [settings for _, settings in run.sources]
    settings = settings_of(run.variation, run.model, run.checkpoint, run.made_by, source_settings)
    name = f"{run.made_by}_seed_{seed:08d}_{{picture:02d}}.png"
    with user_errors_as_toasts(), write_images(last.xt, settings, name) as paths:
        yield (
            make_animation(frames, run.total_steps, status),
            [(str(path), None) for path in paths],
            gr.DownloadButton(value=str(write_zip_of(paths)), visible=True),
            *idle_buttons(start_label),
        )


def _read(path: str | None, metadata: "CheckpointMetadata") -> "tuple[Tensor, dict | None]":
    """Return the image of a file, float [1, C, S, S] in [-1, 1] at the model's size, and the settings stored in it.

    Raises BadInput for a file that is not an image.
    """
    import torch

    from diffusion_demo.data import UNREADABLE, ImageTransform, decode
    from diffusion_demo.images import read_settings, to_float

    if not path:
        raise BadInput("No image was dropped. Drop an image first, or choose one from the history.")
    try:
        with open(path, "rb") as file:
            pixels = decode(file.read(), ImageTransform(metadata.image_size, metadata.channels))
    except UNREADABLE as error:
        raise BadInput("This file cannot be read as an image. Drop a PNG, JPEG or WebP.") from error
    try:
        settings = read_settings(path)
    except BadInput:
        settings = None
    return to_float(torch.from_numpy(pixels.copy())[None]), settings
