"""Sampling request: number of images, seeds, classes, sampler, steps and guidance."""

import random
from dataclasses import dataclass
from typing import NamedTuple

from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.samplers import SAMPLERS
from diffusion_demo.diffusion.timesteps import log_snr_timesteps, spaced_timesteps
from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.runtime.device import PRECISIONS

MAX_SEED = 2**48


@dataclass(frozen=True)
class Request:
    """The settings of one sampling call. Image i depends only on seed + i, not on the batch.

    steps: a number of steps, or a specification for timesteps.spaced_timesteps.
    class_index: the class of all images; None draws each image's class from its seed.
    guidance_scale: scale of classifier-free guidance; 1 turns it off.
    classifier_scale: scale of classifier guidance; 0 turns it off.
    guidance_interval: the lowest and highest t in 0 .. T-1 at which guidance acts; None for all timesteps at which it
        is numerically stable.
    """

    num_images: int = 16
    sampler: str = "dpm_solver"
    steps: int | str = 12
    eta: float = 0.0
    seed: int = 0
    class_index: int | None = None
    guidance_scale: float = 1.0
    precision: str = "auto"
    guidance_interval: tuple[int, int] | None = None
    classifier_scale: float = 0.0

    def check(self, description: CheckpointMetadata) -> None:
        """Raise BadInput if a setting is out of range or not supported by the model."""
        if self.num_images < 1:
            raise BadInput(f"The number of images must be at least 1, not {self.num_images}.")
        if self.sampler not in SAMPLERS:
            raise BadInput(f"There is no sampler {self.sampler!r}. Choose one of {', '.join(SAMPLERS)}.")
        check_steps(self.steps, description)
        if not 0 <= self.eta <= 1:
            raise BadInput(f"Eta must be from 0 (deterministic) to 1 (ancestral), not {self.eta:g}.")
        if not 0 <= self.seed <= MAX_SEED:
            raise BadInput(f"The seed must be a whole number from 0 to {MAX_SEED}, not {self.seed}.")
        if not 0 <= self.guidance_scale <= 100:
            raise BadInput(f"The guidance scale must be from 0 to 100, not {self.guidance_scale:g}.")
        if not 0 <= self.classifier_scale <= 100:
            raise BadInput(f"The classifier scale must be from 0 (off) to 100, not {self.classifier_scale:g}.")
        last = description.num_train_timesteps - 1
        if (
            self.guidance_interval is not None
            and not 0 <= self.guidance_interval[0] <= self.guidance_interval[1] <= last
        ):
            raise BadInput(
                f"The guidance interval must be a lower and a higher t, both from 0 to {last},"
                f" not {self.guidance_interval}."
            )
        if self.precision not in PRECISIONS:
            raise BadInput(f"Precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}.")
        if self.class_index is not None and not 0 <= self.class_index < len(description.class_names):
            raise BadInput(f"There is no class {self.class_index}. {_available_classes(description)}")
        if self.guidance_scale != 1 and not description.guidance:
            raise BadInput(
                "This model was trained without a null class, so it does not support classifier-free guidance."
                " Set the guidance scale to 1."
            )


def request_timesteps(request: Request, diffusion: Diffusion) -> list[int]:
    """Return the timesteps that the request visits, in ascending order.

    A number of steps is spaced evenly in log SNR for dpm_solver, and evenly in t for the other samplers.
    """
    if request.sampler == "dpm_solver" and isinstance(request.steps, int):
        return log_snr_timesteps(diffusion.abar, request.steps)
    return spaced_timesteps(len(diffusion), request.steps)


def check_steps(steps: int | str, description: CheckpointMetadata) -> None:
    """Raise BadInput if `steps` does not fit the number of timesteps the model was trained with."""
    try:
        spaced_timesteps(description.num_train_timesteps, steps)
    except ValueError as error:
        raise BadInput(f"{str(error)[:1].upper()}{str(error)[1:]}.") from error


def class_index(name: str, description: CheckpointMetadata) -> int:
    """Return the index of a class given by name, title or number. Raises BadInput, listing the classes, if unknown."""
    for names in (description.class_names, [description.title(c) for c in description.class_names]):
        if name in names:
            return names.index(name)
    if name.isdecimal() and int(name) < len(description.class_names):
        return int(name)
    raise BadInput(f"There is no class {name!r}. {_available_classes(description)}")


def _available_classes(description: CheckpointMetadata) -> str:
    if not description.class_names:
        return "This model has no classes."
    titles = ", ".join(map(description.title, description.class_names))
    return f"Choose one of {titles}, or a number from 0 to {len(description.class_names) - 1}."


def draw_class(seed: int, num_classes: int) -> int:
    """Return the class index that a seed draws if the request names no class."""
    return random.Random(seed).randrange(num_classes)


class ImageSpec(NamedTuple):
    """The seed and the class index of one image of a request; the index is None for a model without classes."""

    seed: int
    class_index: int | None


def image_specs(request: Request, description: CheckpointMetadata) -> list[ImageSpec]:
    """Return the seed and class of each image: seed + i, and the requested class or else one drawn from the seed."""
    seeds = range(request.seed, request.seed + request.num_images)
    if not description.class_names:
        return [ImageSpec(seed, None) for seed in seeds]
    if request.class_index is not None:
        return [ImageSpec(seed, request.class_index) for seed in seeds]
    return [ImageSpec(seed, draw_class(seed, len(description.class_names))) for seed in seeds]
