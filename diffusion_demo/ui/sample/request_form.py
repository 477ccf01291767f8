"""Conversion of the fields of the Sample tab to sampling requests."""

from pathlib import Path

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.sampling.comparison import MIXED
from diffusion_demo.sampling.presets import GUIDANCE_START_PERCENT
from diffusion_demo.sampling.request import Request, class_index
from diffusion_demo.ui.sample.words import ALL_CLASSES
from diffusion_demo.ui.server import limits
from diffusion_demo.ui.server.model_list import upsampler_folders

MAX_FORM_SEED = 2**31 - 1
UNTOUCHED = (GUIDANCE_START_PERCENT, 100)  # initial guidance interval of the form, which stands for the default one


def class_choices(metadata: CheckpointMetadata) -> list[tuple[str, str]]:
    """Return the (title, value) choices of the class."""
    return [
        (ALL_CLASSES, MIXED),
        *((metadata.title(name), class_value(name, metadata)) for name in metadata.class_names),
    ]


def class_value(name: str | None, metadata: CheckpointMetadata) -> str:
    """Return the form's value for a class name: the name, MIXED for None, or the index of a class called MIXED."""
    if name is None:
        return MIXED
    return str(metadata.class_names.index(name)) if name == MIXED else name


def class_values(metadata: CheckpointMetadata) -> list[str]:
    """Return the values of all choices of the class."""
    return [value for _, value in class_choices(metadata)]


def class_update(metadata: CheckpointMetadata, selected: str) -> gr.Radio:
    """Return the update of the class cards, which a model without classes does not show."""
    return gr.Radio(class_choices(metadata), value=selected, visible=bool(metadata.class_names))


def parse_class(label: str | None, metadata: CheckpointMetadata) -> int | None:
    """Return the index of a class, or None for mixed classes. Raises BadInput for an unknown class."""
    return None if label in (MIXED, None) else class_index(label, metadata)


def require_number(value: float | None, name: str) -> float:
    """Return the value of a number field. Raises BadInput, with the name of the field, if it is empty."""
    if value is None:
        raise BadInput(f"Enter the {name}.")
    return value


def parse_request(
    metadata: CheckpointMetadata,
    *,
    label: str | None,
    num_images: float | None,
    sampler: str,
    steps: float | None,
    guidance_scale: float,
    eta: float,
    seed: float | None,
    guide_from: float | None,
    guide_to: float | None,
    classifier_scale: float,
) -> Request:
    """Parse the form, by the names that its fields have in the API, into a checked Request.

    guide_from and guide_to are percentages of the chain. Raises BadInput for an empty or invalid field.
    """
    from diffusion_demo.runtime.device import resolve_precision
    from diffusion_demo.ui.server.model_cache import device

    count, num_steps = require_number(num_images, "number of images"), require_number(steps, "number of steps")
    limits.check_sampling(count, num_steps)
    guided = guidance_scale != 1 or classifier_scale != 0
    request = Request(
        num_images=int(count),
        sampler=sampler,
        steps=int(num_steps),
        eta=eta,
        seed=int(require_number(seed, "seed")),
        class_index=parse_class(label, metadata),
        guidance_scale=guidance_scale,
        precision=resolve_precision("auto", device()),
        guidance_interval=percent_to_interval(guide_from, guide_to, metadata.num_train_timesteps) if guided else None,
        classifier_scale=classifier_scale,
    )
    request.check(metadata)
    return request


def percent_to_interval(low: float | None, high: float | None, num_timesteps: int) -> tuple[int, int] | None:
    """Return the lowest and highest timestep, in 0 .. T-1, between two percentages of the chain.

    None, for the usual interval, if the percentages are UNTOUCHED. Raises BadInput for an empty
    field or an empty interval.
    """
    low = require_number(low, "start of the guidance interval")
    high = require_number(high, "end of the guidance interval")
    if (low, high) == UNTOUCHED:
        return None
    first, last = round(low / 100 * num_timesteps), round(high / 100 * num_timesteps) - 1
    if not 0 <= first <= last < num_timesteps:
        raise BadInput(
            f"The guidance interval from {low:g} to {high:g} % is invalid. "
            "Enter a start below the end, both from 0 to 100."
        )
    return first, last


def interval_to_percent(
    interval: list[int] | tuple[int, int] | None, num_timesteps: int, is_usual: bool = False
) -> tuple[float, float]:
    """Return the two percentages of a guidance interval, the inverse of `percent_to_interval`.

    They are UNTOUCHED only for None and, with `is_usual`, for an interval that is the usual one of its request.
    """
    if interval is None:
        return UNTOUCHED
    low, high = 100 * interval[0] / num_timesteps, 100 * (interval[1] + 1) / num_timesteps
    if (low, high) == UNTOUCHED and not is_usual:
        low += 25 / num_timesteps  # a quarter of a timestep, which is rounded off again
    return low, high


def upsampler_for(metadata: CheckpointMetadata) -> tuple[str, Path] | None:
    """Return name and folder of the upsampler that doubles the size of this model's images, or None.

    One that was trained on the same classes comes first.
    """
    fitting = []
    for name, folder in upsampler_folders().items():
        upsampler = load_metadata(folder)
        fits = upsampler.small_size in (None, metadata.image_size) and upsampler.image_size == 2 * metadata.image_size
        if fits and upsampler.channels == metadata.channels:
            fitting.append((upsampler.classes_of_data != metadata.classes_of_data, name, folder))
    return min(fitting, key=lambda one: one[0])[1:] if fitting else None
