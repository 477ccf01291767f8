"""A run of Sample, Vary: an image noised and brought back, or two of them mixed on the way."""

import time
from contextlib import closing

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.preview.downloads import write_images, write_zip_of
from diffusion_demo.ui.preview.preview import idle, working
from diffusion_demo.ui.sample.request_form import as_toasts, number, parse_class
from diffusion_demo.ui.server import hf_space, limits, warmup
from diffusion_demo.ui.server.fair_queue import fair_queue
from diffusion_demo.ui.server.model_list import folder_of

VARY, MIX = "Make variations", "Mix them"
MAX_IMAGES = 16


def _waiting(words: str) -> tuple:
    return *[gr.skip()] * 3, gr.Button(words, interactive=False), gr.Button(interactive=True)


@fair_queue(_waiting)
def vary(
    model: str, picture: str, how_far: float, num_images: int, label: str, guidance_scale: float, steps: int, seed: int
):
    """Variations of an image, yielding (stage, gallery, zip file, and the two buttons) as they come back."""
    warmup.wait()
    from diffusion_demo.sampling import variations

    yield from _run(
        "vary", variations.vary, VARY, model, [picture], how_far, num_images, label, guidance_scale, steps, seed
    )


@fair_queue(_waiting)
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
    """Images between two, yielding (stage, gallery, zip file, and the two buttons) as they come back."""
    warmup.wait()
    from diffusion_demo.sampling import variations

    yield from _run(
        "interpolate",
        variations.mix,
        MIX,
        model,
        [picture, other],
        how_far,
        num_images,
        label,
        guidance_scale,
        steps,
        seed,
    )


def _run(made_by, walk, words, model, files, how_far, num_images, label, guidance_scale, steps, seed):
    from diffusion_demo.runtime.device import resolve_precision
    from diffusion_demo.sampling.variations import Variation, settings_of
    from diffusion_demo.ui.preview.frames import frame, make_animation, recorded_steps
    from diffusion_demo.ui.preview.progress_stream import duration, watch
    from diffusion_demo.ui.server.model_cache import load

    with as_toasts():
        folder = folder_of(model)
        checkpoint = load(folder)
        about = checkpoint.description
        if not 1 <= number(num_images, "number of images") <= MAX_IMAGES:
            raise BadInput(f"This page makes 1 to {MAX_IMAGES} images here at a time, not {num_images:g}.")
        index, count, far = parse_class(label, about), int(num_images), float(number(how_far, "percent of how far"))
        guidance = float(guidance_scale) if index is not None else 1.0
        precision = resolve_precision("auto", checkpoint.unet.device)
        how = Variation(count, far, int(number(steps, "steps")), int(number(seed, "seed")), index, guidance, precision)
        how.check(about)
        limits.check_sampling(count, how.steps)
        sources = [_read(path, checkpoint) for path in files]
        total = len(how.chain(checkpoint.diffusion))
        updates = watch(
            hf_space.steps(walk, checkpoint, folder, *(x0 for x0, _ in sources), how),
            recorded_steps(total, count * about.image_size**2),
        )
    skip, frames, started = gr.skip(), [], time.monotonic()
    yield {"frames": [], "empty": f"Step 0 of {total}"}, skip, skip, *working()
    with as_toasts(), closing(updates):
        for seen in updates:
            frames += [frame(step) for step in seen]
            step = seen[-1]
            if step.index < total:
                left = (time.monotonic() - started) / step.index * (total - step.index)
                yield (
                    make_animation(
                        frames[-1:], total, f"Step {step.index} of {total}, {duration(left)} left", live=True
                    ),
                    skip,
                    skip,
                    skip,
                    skip,
                )
    status = f"{count} images in {duration(time.monotonic() - started)}, seed {how.seed}."
    settings = settings_of(how, model, checkpoint, made_by, [found for _, found in sources])
    with as_toasts(), write_images(step.xt, settings, f"{made_by}_seed_{how.seed:08d}_{{picture:02d}}.png") as paths:
        yield (
            make_animation(frames, total, status),
            [(str(path), None) for path in paths],
            gr.DownloadButton(value=str(write_zip_of(paths)), visible=True),
            *idle(words),
        )


def _read(path: str | None, checkpoint):
    """The image as the model sees images, float [1, C, S, S], and the settings inside it. Raises BadInput for what is no image."""
    import torch

    from diffusion_demo.data import UNREADABLE, ImageTransform, decode
    from diffusion_demo.images import read_settings, to_float

    if not path:
        raise BadInput("Drop an image first, or choose one from the history.")
    about = checkpoint.description
    try:
        with open(path, "rb") as file:
            pixels = decode(file.read(), ImageTransform(about.image_size, about.channels))
    except UNREADABLE as error:
        raise BadInput("This file cannot be read as an image; drop a PNG, JPEG or WebP.") from error
    try:
        settings = read_settings(path)
    except BadInput:
        settings = None
    return to_float(torch.from_numpy(pixels.copy())[None]), settings
