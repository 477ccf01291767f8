"""A run of the Sample tab: images out of noise, watched step by step."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.preview.downloads import write_images, write_zip_of
from diffusion_demo.ui.preview.preview import idle, working
from diffusion_demo.ui.sample.request_form import as_toasts, parse_request, upsampler_for
from diffusion_demo.ui.server import hf_space, warmup
from diffusion_demo.ui.server.fair_queue import fair_queue
from diffusion_demo.ui.server.model_list import folder_of

GENERATE = "Generate"


def _waiting(words: str) -> tuple:
    return *[gr.skip()] * 4, gr.Button(words, interactive=False), gr.Button(interactive=True)


@fair_queue(_waiting)
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
    """Sample images, yielding (stage, gallery, zip file, seed, and the two buttons) as the denoising goes on."""
    warmup.wait()
    from diffusion_demo.sampling.generate import make_noise
    from diffusion_demo.sampling.image_writer import settings_of
    from diffusion_demo.sampling.request import check_steps, image_specs
    from diffusion_demo.ui.preview.frames import first_frame, frame, make_animation, recorded_steps
    from diffusion_demo.ui.preview.progress_stream import duration, watch
    from diffusion_demo.ui.server.model_cache import load

    with as_toasts():
        folder = folder_of(model)
        checkpoint = load(folder)
        about = checkpoint.description
        request = parse_request(
            about, label, num_images, sampler, steps, guidance_scale, eta, seed, guide_from, guide_to, classifier_scale
        )
        found = upsampler_for(about) if twice else None
        if twice and not found:
            raise BadInput("There is no model here that makes this one's images twice as large.")
        upsampler = load(found[1]) if found else None
        if upsampler:
            check_steps(request.steps, upsampler.description)
    specs = image_specs(request, about)
    frames = [first_frame(make_noise(checkpoint, specs)(), len(checkpoint.diffusion))]
    total, side = (2 * request.steps, 2 * about.image_size) if upsampler else (request.steps, about.image_size)
    started, skip = time.monotonic(), gr.skip()
    yield make_animation(frames, total, f"Step 0 of {total}", live=True), skip, skip, request.seed, *working()
    kept = recorded_steps(total, request.num_images * side**2)
    with as_toasts(), closing(watch(_steps(checkpoint, folder, upsampler, found, request, specs), kept)) as updates:
        for seen in updates:
            drawn = [frame(step) for step in seen]
            frames += [one for one, step in zip(drawn, seen, strict=True) if step.index in kept]
            step = seen[-1]
            if step.index < total:
                each = (time.monotonic() - started) / step.index
                status = f"Step {step.index} of {total}, {duration(each * (total - step.index))} left, {request.num_images / (each * total):.1f} images/s"
                yield make_animation(drawn[-1:], total, status, live=True), skip, skip, skip, skip, skip
    took = time.monotonic() - started
    status = f"{request.num_images} images in {duration(took)}, {request.num_images / took:.1f} images/s, seed {request.seed}."
    helpers = {"upsampler": found[0]} if found else {}
    with as_toasts(), write_images(step.xt, settings_of(request, specs, model, checkpoint, **helpers)) as paths:
        archive = gr.DownloadButton(value=str(write_zip_of(paths)), visible=True)
        yield (
            make_animation(frames, total, status),
            [(str(path), None) for path in paths],
            archive,
            request.seed,
            *idle(GENERATE),
        )


def _steps(checkpoint, folder, upsampler, found, request, specs) -> Iterator:
    """The steps of the images and, where they are to be enlarged by the upsampler that was found, of that, counted on."""
    from diffusion_demo.images import to_uint8
    from diffusion_demo.sampling.generate import sample_batch, upsample

    stages = 2 if upsampler else 1
    for step in hf_space.steps(sample_batch, checkpoint, folder, request, specs):
        yield replace(step, total=stages * step.total)
    if upsampler:
        for larger in hf_space.steps(upsample, upsampler, found[1], to_uint8(step.xt), request, specs):
            yield replace(larger, index=larger.total + larger.index, total=2 * larger.total)
