"""Make variations on the Sample tab: add noise to one image and denoise it, or interpolate between two images."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.preview.captions import image_captions, run_caption
from diffusion_demo.ui.preview.preview import starting_buttons
from diffusion_demo.ui.sample import words
from diffusion_demo.ui.sample.live_sampling import SamplingRun, stream_sampling
from diffusion_demo.ui.sample.request_form import parse_class, require_number
from diffusion_demo.ui.server import hf_space, limits, warmup
from diffusion_demo.ui.server.fair_queue import in_fair_queue
from diffusion_demo.ui.server.model_list import folder_of, model_title

if TYPE_CHECKING:
    from torch import Tensor

    from diffusion_demo.models.metadata import CheckpointMetadata
    from diffusion_demo.sampling.variations import Variation

MAX_VARIATIONS = 16


@in_fair_queue(starting_buttons)
def vary(model: str, picture: str, **form: Any) -> Iterator[dict[str, Any]]:
    """Make variations of an image and yield updates by name, as `stream_sampling`. `form`: arguments of `_parse`."""
    yield from _vary("vary", model, [picture], form)


@in_fair_queue(starting_buttons)
def interpolate(model: str, picture: str, other: str, **form: Any) -> Iterator[dict[str, Any]]:
    """Interpolate between two images and yield updates by name, as `stream_sampling`. `form` is as for `vary`."""
    yield from _vary("interpolate", model, [picture, other], form)


def _vary(made_by: str, model: str, files: list[str], form: dict[str, Any]) -> Iterator[dict[str, Any]]:
    warmup.wait()
    with user_errors_as_toasts():
        run = _prepare(made_by, model, files, form)
    yield from stream_sampling(run)


def _prepare(made_by: str, model: str, files: list[str], form: dict[str, Any]) -> SamplingRun:
    """Load the model, check the form and read the images. Raises BadInput."""
    from diffusion_demo.sampling import variations
    from diffusion_demo.ui.server.model_cache import load

    folder = folder_of(model)
    checkpoint = load(folder)
    metadata = checkpoint.description
    variation = _parse(metadata, **form)
    sources = [_read(path, metadata) for path in files]
    images, source_settings = [x0 for x0, _ in sources], [settings for _, settings in sources]
    sampler = variations.vary if made_by == "vary" else variations.mix
    settings = variations.settings_of(variation, model, checkpoint, made_by, source_settings)
    caption = run_caption(settings, model_title(model, folder), metadata)
    return SamplingRun(
        lambda: hf_space.steps(sampler, checkpoint, folder, *images, variation),
        len(variation.chain(checkpoint.diffusion)),
        metadata.image_size,
        variation.seed,
        settings,
        {"caption": caption, "cells": image_captions(settings, metadata)},
        words.VARY if made_by == "vary" else words.BLEND,
        name=f"{made_by}_seed_{variation.seed:08d}_{{index:02d}}.png",
    )


def _parse(
    metadata: "CheckpointMetadata",
    *,
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


def unreadable_images_removed(path: str | None) -> Any:
    """Return the update of an image field after an upload: it is emptied, with a warning, if its file is not an image.

    The browser would show a broken image, and the field would refuse the next one.
    """
    warmup.wait()
    from diffusion_demo.data import UNREADABLE, ImageTransform, decode

    try:
        if path:
            decode(Path(path).read_bytes(), ImageTransform(16, 3))
        return gr.skip()
    except UNREADABLE:
        gr.Warning(words.NOT_AN_IMAGE)
        return None


def _read(path: str | None, metadata: "CheckpointMetadata") -> "tuple[Tensor, dict[str, Any] | None]":
    """Return the image of a file, float [1, C, S, S] in [-1, 1] at the model's size, and the settings stored in it.

    Raises BadInput for a file that is not an image.
    """
    import torch

    from diffusion_demo.data import UNREADABLE, ImageTransform, decode
    from diffusion_demo.images import read_settings, to_float

    if not path:
        raise BadInput(words.NO_IMAGE)
    try:
        with open(path, "rb") as file:
            pixels = decode(file.read(), ImageTransform.of(metadata))
    except UNREADABLE as error:
        raise BadInput(words.NOT_AN_IMAGE) from error
    try:
        settings = read_settings(path)
    except BadInput:
        settings = None
    return to_float(torch.from_numpy(pixels.copy())[None]), settings
