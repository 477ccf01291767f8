"""What the form of the Sample tab asks for, as the core's requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.ui.server import limits
from diffusion_demo.ui.server.model_list import upsamplers

MIXED = "mixed"
MAX_SEED = 2**31 - 1


@contextmanager
def as_toasts() -> Iterator[None]:
    """What is wrong with a request is said as a toast."""
    try:
        yield
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error


def class_choices(description: CheckpointMetadata) -> list[tuple[str, str]]:
    return [(MIXED, MIXED), *((description.title(name), name) for name in description.class_names)]


def parse_class(label: str | None, description: CheckpointMetadata) -> int | None:
    """The class's index, None for a mix. Raises BadInput for an unknown one."""
    from diffusion_demo.sampling.request import class_index

    return None if label in (MIXED, None) else class_index(label, description)


def number(value: float | None, what: str) -> float:
    """A number that a field holds. Raises BadInput for an empty field."""
    if value is None:
        raise BadInput(f"Fill in the {what} with a number.")
    return value


def parse_request(
    description: CheckpointMetadata,
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
):
    """The form as a request.Request, checked. Raises BadInput, in one sentence, for what cannot be made."""
    from diffusion_demo.runtime.device import resolve_precision
    from diffusion_demo.sampling.request import Request
    from diffusion_demo.ui.server.model_cache import device

    limits.check_sampling(number(num_images, "number of images"), number(steps, "steps"))
    guided = guidance_scale != 1 or classifier_scale != 0
    request = Request(
        num_images=int(num_images),
        sampler=sampler,
        steps=int(number(steps, "steps")),
        eta=float(eta),
        seed=int(number(seed, "seed")),
        class_index=parse_class(label, description),
        guidance_scale=float(guidance_scale),
        precision=resolve_precision("auto", device()),
        guidance_interval=percent_to_interval(guide_from, guide_to, description.num_train_timesteps)
        if guided
        else None,
        classifier_scale=float(classifier_scale),
    )
    request.check(description)
    return request


def percent_to_interval(low: float | None, high: float | None, num_timesteps: int) -> tuple[int, int] | None:
    """The lowest and highest t of the network, 0 .. T-1, between two percents of the noise; None for all of it. Raises BadInput for none of it."""
    low, high = number(low, "start of the guidance"), number(high, "end of the guidance")
    if (low, high) == (0, 100):
        return None
    ends = round(low / 100 * num_timesteps), round(high / 100 * num_timesteps) - 1
    if not 0 <= ends[0] <= ends[1] < num_timesteps:
        raise BadInput(
            f"Guidance must act from a lower percent to a higher one, both from 0 to 100; not from {low:g} to {high:g}."
        )
    return ends


def interval_to_percent(interval: list[int] | None, num_timesteps: int) -> tuple[float, float]:
    """What interval_of was asked with."""
    return (
        (0, 100) if interval is None else (100 * interval[0] / num_timesteps, 100 * (interval[1] + 1) / num_timesteps)
    )


def upsampler_for(description: CheckpointMetadata) -> tuple[str, Path] | None:
    """The upsampler, by name and folder, that makes this model's images twice as large."""
    for name, folder in upsamplers().items():
        about = load_metadata(folder)
        fits = about.small_size in (None, description.image_size) and about.image_size == 2 * description.image_size
        if fits and about.channels == description.channels:
            return name, folder
    return None
