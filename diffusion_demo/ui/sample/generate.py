"""Generate images on the Sample tab, with live updates of the denoising."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_demo.errors import BadInput
from diffusion_demo.sampling.request import ImageSpec, Request, image_specs
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.preview.captions import image_captions, run_caption
from diffusion_demo.ui.preview.preview import starting_buttons
from diffusion_demo.ui.sample import words
from diffusion_demo.ui.sample.live_sampling import SamplingRun, stream_sampling
from diffusion_demo.ui.sample.request_form import parse_request, upsampler_for
from diffusion_demo.ui.server import hf_space, warmup
from diffusion_demo.ui.server.fair_queue import in_fair_queue
from diffusion_demo.ui.server.model_list import folder_of, model_title

if TYPE_CHECKING:
    from diffusion_demo.diffusion.samplers import Step
    from diffusion_demo.models.checkpoint import Checkpoint


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
    request: Request
    specs: list[ImageSpec]
    upsampler: _Upsampler | None

    @property
    def total_steps(self) -> int:
        """Number of sampling steps, those of the upsampler included."""
        return (2 if self.upsampler else 1) * int(self.request.steps)

    @property
    def image_size(self) -> int:
        """Side of the final images in pixels."""
        return (2 if self.upsampler else 1) * self.checkpoint.description.image_size


@in_fair_queue(starting_buttons)
def generate(model: str, twice: bool, **form: Any) -> Iterator[dict[str, Any]]:
    """Sample images and yield updates by name, as `stream_sampling`, besides last_seed.

    `form` holds the arguments of `parse_request`.
    """
    warmup.wait()
    from diffusion_demo.sampling.generate import make_noise
    from diffusion_demo.sampling.image_writer import settings_of
    from diffusion_demo.ui.preview.frames import first_frame

    with user_errors_as_toasts():
        run = _prepare(model, form, twice)
    seed = run.request.seed
    provenance = {"upsampler": run.upsampler.name} if run.upsampler else {}
    settings = settings_of(run.request, run.specs, model, run.checkpoint, **provenance)
    metadata = run.checkpoint.description
    caption = run_caption(settings, model_title(model, run.folder), metadata)
    live_sampling = SamplingRun(
        lambda: _steps(run),
        run.total_steps,
        run.image_size,
        seed,
        settings,
        {"caption": caption, "cells": image_captions(settings, metadata)},
        words.GENERATE,
        first_frame(make_noise(run.checkpoint, run.specs)(), len(run.checkpoint.diffusion)),
        resume={"settings": settings[0], "label": form["label"], "num_images": len(settings)},
    )
    for updates in stream_sampling(live_sampling):
        yield updates | {"last_seed": seed}


def _prepare(model: str, form: dict[str, Any], twice: bool) -> _Run:
    """Load the models and check the request. Raises BadInput."""
    from diffusion_demo.sampling.generate import check_upsampling
    from diffusion_demo.ui.server.model_cache import load

    folder = folder_of(model)
    checkpoint = load(folder)
    metadata = checkpoint.description
    request = parse_request(metadata, **form)
    match = upsampler_for(metadata) if twice else None
    if twice and not match:
        raise BadInput(words.NO_UPSCALER)
    upsampler = _Upsampler(*match, load(match[1])) if match else None
    if upsampler:
        check_upsampling(upsampler.checkpoint.description, metadata.channels, metadata.image_size, request)
    return _Run(folder, checkpoint, request, image_specs(request, metadata), upsampler)


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
