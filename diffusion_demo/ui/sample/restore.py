"""Restore the form of the Sample tab from the settings stored in an image."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.sampling.request import Request
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.sample import quality, words
from diffusion_demo.ui.sample.request_form import (
    MAX_FORM_SEED,
    class_update,
    class_value,
    interval_to_percent,
    upsampler_for,
)
from diffusion_demo.ui.server import warmup
from diffusion_demo.ui.server.model_list import model_folders

if TYPE_CHECKING:
    from diffusion_demo.models.checkpoint import Checkpoint
    from diffusion_demo.models.metadata import CheckpointMetadata

UNREADABLE_SETTINGS = "The settings of this image cannot be read. Use a PNG downloaded from this page."


def from_file(path: str) -> dict[str, Any]:
    """Return the updates of `from_settings` for a dropped PNG, and None to empty the drop zone, `dropped`.

    Raises gr.Error for a file without valid settings.
    """
    warmup.wait()
    from diffusion_demo.images import read_settings

    with user_errors_as_toasts():
        if not isinstance(path, str):
            raise BadInput(words.NO_SETTINGS_FILE)
        settings = read_settings(path)
    return from_settings(settings) | {"dropped": None}


def from_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Return one update per field of the form, by the names of `generate_view.SampleForm.restored`.

    Raises gr.Error for settings that are invalid, belong to a variation or a comparison, or cannot be set on the page.
    """
    warmup.wait()
    from diffusion_demo.ui.server.model_cache import load

    with user_errors_as_toasts():
        if settings.get("made_by") or "compare" in settings:
            raise BadInput(words.NOT_RESTORABLE)
        model = settings.get("checkpoint")
        if not isinstance(model, str):
            raise BadInput(UNREADABLE_SETTINGS)
        if (folder := model_folders().get(model)) is None:
            raise BadInput(words.RESTORED_NO_MODEL.format(model=model[:100]))
        try:
            checkpoint = load(folder)
            request = _parse(settings, checkpoint.description)
        except BadInput:
            raise
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError) as error:
            raise BadInput(UNREADABLE_SETTINGS) from error
        if request.seed > MAX_FORM_SEED:
            raise BadInput(
                f"The seed {request.seed} is above {MAX_FORM_SEED}, the limit of this page. "
                "Use the command line for this image."
            )
    upsampler = upsampler_for(checkpoint.description)
    _notify(settings, request, checkpoint, upsampler and upsampler[0])
    usual = replace(request, guidance_interval=None).resolved(checkpoint.diffusion).guidance_interval
    interval = interval_to_percent(
        request.guidance_interval, len(checkpoint.diffusion), is_usual=request.guidance_interval == usual
    )
    return _updates(settings, request, checkpoint.description, upsampler is not None, interval)


def _parse(settings: dict[str, Any], metadata: "CheckpointMetadata") -> Request:
    """Return the checked request for one image. Raises BadInput, or any exception of a conversion."""
    interval, steps, name = settings.get("guidance_interval"), settings["steps"], settings.get("class")
    if isinstance(steps, str) and not steps.strip().isdecimal():
        raise BadInput(words.RESTORED_OTHER_STEPS.format(steps=steps[:100]))
    if isinstance(name, str) and name not in metadata.class_names:
        raise BadInput(words.RESTORED_NO_CLASS.format(name=name[:100]))
    request = Request(
        num_images=1,
        sampler=settings["sampler"],
        steps=int(steps),
        eta=float(settings["eta"]),
        seed=int(settings["seed"]),
        class_index=metadata.class_names.index(name) if "class" in settings else None,
        guidance_scale=float(settings["guidance_scale"]),
        guidance_interval=interval and (int(interval[0]), int(interval[1])),
        classifier_scale=float(settings.get("classifier_scale", 0)),
    )
    if request.guided and interval is None:  # release 0.1.0 left an interval of all timesteps out
        request = replace(request, guidance_interval=(0, metadata.num_train_timesteps - 1))
    request.check(metadata)
    return request


def _notify(settings: dict[str, Any], request: Request, checkpoint: "Checkpoint", upsampler: str | None) -> None:
    """Show a toast that the settings were restored, with a warning if the image will not be the same."""
    if settings.get("weights") != checkpoint.weights:
        gr.Warning(words.RESTORED_OTHER_WEIGHTS.format(model=settings["checkpoint"]))
    elif settings.get("upsampler") and upsampler != settings["upsampler"]:
        gr.Warning(words.RESTORED_NO_UPSCALER.format(model=settings["upsampler"]))
    elif settings.get("classifier") and request.classifier_scale:  # the command line's; the page uses the model's own
        gr.Warning(words.RESTORED_OTHER_CLASSIFIER.format(model=settings["classifier"]))
    else:
        gr.Info(words.RESTORED.format(seed=request.seed))


def _updates(
    settings: dict[str, Any],
    request: Request,
    metadata: "CheckpointMetadata",
    has_upsampler: bool,
    interval: tuple[float, float],
) -> dict[str, Any]:
    guide_from, guide_to = interval
    return {
        "model": settings["checkpoint"],
        "label": class_update(metadata, class_value(settings.get("class"), metadata)),
        "num_images": 1,
        "sampler": request.sampler,
        "steps": request.steps,
        "guidance_scale": gr.Slider(value=request.guidance_scale, interactive=metadata.guidance),
        "eta": request.eta,
        "seed": request.seed,
        "guide_from": guide_from,
        "guide_to": guide_to,
        "classifier_scale": request.classifier_scale,
        "twice": bool(settings.get("upsampler")) and has_upsampler,
        "randomize": False,
        "problem": "",
        "preset": quality.word_for(request.sampler, int(request.steps), request.eta),
    }
