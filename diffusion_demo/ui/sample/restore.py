"""The form, set as the settings inside an image say."""

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.sample import quality
from diffusion_demo.ui.sample.request_form import (
    MAX_SEED,
    MIXED,
    as_toasts,
    class_choices,
    interval_to_percent,
    upsampler_for,
)
from diffusion_demo.ui.server import warmup
from diffusion_demo.ui.server.model_list import folder_of

UNREADABLE = "This image's settings cannot be read; drop a PNG that was made here."


def from_file(path: str) -> list:
    """What from_settings gives, for a PNG that was dropped, and nothing for the field where it was."""
    warmup.wait()
    from diffusion_demo.images import read_settings

    with as_toasts():
        if not isinstance(path, str):
            raise BadInput("Drop a PNG that was made and downloaded here.")
        found = read_settings(path)
    return [*from_settings(found), None]


def from_settings(found: dict) -> list:
    """model, class, number, sampler, steps, guidance, eta, seed, from, to, classifier's scale, twice, new seed?, word. Raises a toast."""
    warmup.wait()
    from diffusion_demo.sampling.request import Request, class_index
    from diffusion_demo.ui.server.model_cache import load

    with as_toasts():
        if found.get("made_by") or "compare" in found:
            raise BadInput(
                "This image was made from others, which its settings cannot bring back; for a variation of it drop it under Vary."
            )
        try:
            checkpoint = load(folder_of(found["checkpoint"]))
            about = checkpoint.description
            interval = found.get("guidance_interval")
            request = Request(
                num_images=1,
                sampler=found["sampler"],
                steps=int(found["steps"]),
                eta=float(found["eta"]),
                seed=int(found["seed"]),
                class_index=class_index(found["class"], about) if "class" in found else None,
                guidance_scale=float(found["guidance_scale"]),
                guidance_interval=interval and (int(interval[0]), int(interval[1])),
                classifier_scale=float(found.get("classifier_scale", 0)),
            )
            request.check(about)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError) as error:
            raise BadInput(UNREADABLE) from error
        if request.seed > MAX_SEED:
            raise BadInput(f"This page takes seeds up to {MAX_SEED}; use the command line for this image.")
    upsampler = upsampler_for(about)
    if found.get("weights") != checkpoint.weights:
        gr.Warning(f"The settings are back, but {found['checkpoint']} has other weights now: the image will differ.")
    elif found.get("upsampler") and (upsampler is None or upsampler[0] != found["upsampler"]):
        gr.Warning(
            f"The settings are back, but {found['upsampler']}, which enlarged the image, is not here: it will differ."
        )
    else:
        gr.Info(f"The settings of seed {request.seed} are back.")
    return [
        found["checkpoint"],
        gr.Dropdown(class_choices(about), value=found.get("class", MIXED)),
        1,
        request.sampler,
        request.steps,
        gr.Slider(value=request.guidance_scale, interactive=about.guidance),
        request.eta,
        request.seed,
        *interval_to_percent(request.guidance_interval, about.num_train_timesteps),
        request.classifier_scale,
        bool(found.get("upsampler")) and upsampler is not None,
        False,
        quality.word_for(request.sampler, request.steps, request.eta),
    ]
