"""Generate images on the Sample tab, with live updates of the denoising."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.preview.downloads import write_images, write_zip_of
from diffusion_demo.ui.preview.preview import idle_buttons, working_buttons
from diffusion_demo.ui.sample.request_form import parse_request, upsampler_for
from diffusion_demo.ui.server import hf_space, warmup
from diffusion_demo.ui.server.fair_queue import in_fair_queue
from diffusion_demo.ui.server.model_list import folder_of

if TYPE_CHECKING:
    from diffusion_demo.diffusion.samplers import Step
    from diffusion_demo.models.checkpoint import Checkpoint
    from diffusion_demo.sampling.request import ImageSpec, Request

GENERATE = "Generate"


@dataclass(frozen=True, eq=False)
class _Upsampler:
    name: str
    folder: Path
    checkpoint: "Checkpoint"


@dataclass(frozen=True, eq=False)
class _Run:
    """A checked request with the models that it uses."""

    folder: Path
    checkpoint: "Checkpoint"
    request: "Request"
    specs: "list[ImageSpec]"
    upsampler: _Upsampler | None

    @property
    def total_steps(self) -> int:
        """Number of sampling steps, those of the upsampler included."""
        return (2 if self.upsampler else 1) * int(self.request.steps)

    @property
    def image_size(self) -> int:
        """Side of the final images in pixels."""
        return (2 if self.upsampler else 1) * self.checkpoint.description.image_size


def _waiting(words: str) -> tuple:
    return *[gr.skip()] * 4, gr.Button(words, interactive=False), gr.Button(interactive=True)


@in_fair_queue(_waiting)
def generate(
    model: str,
    label: str,
    num_images: int,
    sampler: str,
    steps: int,
    guidance_scale: float,
    eta: float,
    seed: int,
    guide_from: float,
    guide_to: float,
    classifier_scale: float,
    twice: bool,
):
    """Sample images and yield updates of (preview, gallery, zip file, seed, Generate button, Stop button)."""
    warmup.wait()
    form = (label, num_images, sampler, steps, guidance_scale, eta, seed, guide_from, guide_to, classifier_scale)
    from diffusion_demo.sampling.generate import make_noise
    from diffusion_demo.ui.preview.frames import first_frame, make_animation

    with user_errors_as_toasts():
        run = _prepare(model, form, twice)
    frames = [first_frame(make_noise(run.checkpoint, run.specs)(), len(run.checkpoint.diffusion))]
    started, skip = time.monotonic(), gr.skip()
    preview = make_animation(frames, run.total_steps, f"Step 0 of {run.total_steps}", live=True)
    yield preview, skip, skip, run.request.seed, *working_buttons()
    with user_errors_as_toasts():
        last = yield from _sample(run, frames, started)
    yield from _finish(run, model, frames, last, time.monotonic() - started)


def _prepare(model: str, form: tuple, twice: bool) -> _Run:
    """Load the models and check the request. Raises BadInput."""
    from diffusion_demo.sampling.generate import check_upsampling
    from diffusion_demo.sampling.request import image_specs
    from diffusion_demo.ui.server.model_cache import load

    folder = folder_of(model)
    checkpoint = load(folder)
    metadata = checkpoint.description
    request = parse_request(metadata, *form)
    match = upsampler_for(metadata) if twice else None
    if twice and not match:
        raise BadInput('No upsampler fits this model. Turn off "Twice the size", or choose another model.')
    upsampler = _Upsampler(*match, load(match[1])) if match else None
    if upsampler:
        check_upsampling(upsampler.checkpoint.description, metadata.channels, metadata.image_size, request)
    return _Run(folder, checkpoint, request, image_specs(request, metadata), upsampler)


def _sample(run: _Run, frames: list[dict], started: float) -> "Generator[tuple, None, Step]":
    """Sample, append the recorded frames to `frames`, yield live updates, and return the last step."""
    from diffusion_demo.ui.preview.frames import frame, make_animation, recorded_steps
    from diffusion_demo.ui.preview.progress_stream import duration, watch

    skip, total, count = gr.skip(), run.total_steps, run.request.num_images
    recorded = recorded_steps(total, count * run.image_size**2)
    step = None
    with closing(watch(_steps(run), recorded)) as updates:
        for new_steps in updates:
            new_frames = [frame(step) for step in new_steps]
            frames += [one for one, step in zip(new_frames, new_steps, strict=True) if step.index in recorded]
            step = new_steps[-1]
            if step.index < total:
                each = (time.monotonic() - started) / step.index
                remaining, rate = duration(each * (total - step.index)), count / (each * total)
                status = f"Step {step.index} of {total}, {remaining} left, {rate:.1f} images/s"
                yield make_animation(new_frames[-1:], total, status, live=True), skip, skip, skip, skip, skip
    assert step is not None, "a sampler yields at least one step"
    return step


def _steps(run: _Run) -> "Iterator[Step]":
    """Yield the steps of the model and then those of the upsampler, with continuous indices."""
    from diffusion_demo.images import to_uint8
    from diffusion_demo.sampling.generate import sample_batch, upsample

    step = None
    for step in hf_space.steps(sample_batch, run.checkpoint, run.folder, run.request, run.specs):
        yield replace(step, total=(2 if run.upsampler else 1) * step.total)
    if run.upsampler:
        assert step is not None, "a sampler yields at least one step"
        small, upsampler = to_uint8(step.xt), run.upsampler
        arguments = small, run.request, run.specs, run.checkpoint.description.class_names
        for step in hf_space.steps(upsample, upsampler.checkpoint, upsampler.folder, *arguments):
            yield replace(step, index=step.total + step.index, total=2 * step.total)


def _finish(run: _Run, model: str, frames: list[dict], last: "Step", seconds: float) -> Iterator[tuple]:
    """Write the images and yield the final update."""
    from diffusion_demo.sampling.image_writer import settings_of
    from diffusion_demo.ui.preview.frames import make_animation
    from diffusion_demo.ui.preview.progress_stream import duration

    request = run.request
    count = request.num_images
    status = f"{count} images in {duration(seconds)}, {count / seconds:.1f} images/s, seed {request.seed}."
    provenance = {"upsampler": run.upsampler.name} if run.upsampler else {}
    settings = settings_of(request, run.specs, model, run.checkpoint, **provenance)
    with user_errors_as_toasts(), write_images(last.xt, settings) as paths:
        yield (
            make_animation(frames, run.total_steps, status),
            [(str(path), None) for path in paths],
            gr.DownloadButton(value=str(write_zip_of(paths)), visible=True),
            request.seed,
            *idle_buttons(GENERATE),
        )
