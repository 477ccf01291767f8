"""Sampling request: one field for each setting, with its help, range, choices and default.

Validation and the options of `sample` and `evaluate` follow from these fields.
"""

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ConfigDict, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.sampling.presets import DEFAULT, PRESETS, SAMPLER_TITLES, default_guidance_interval, usual_eta
from diffusion_demo.validation import check_choice, fields_of, refuses_as_bad_input, setting

if TYPE_CHECKING:
    from diffusion_demo.diffusion.process import Diffusion

MAX_SEED = 2**48
MAX_IMAGES = 1_000_000  # per call, because the list of images is kept in memory
MAX_DIGITS = 9  # of the index of a class; Python refuses to read numbers of more than 4,300 digits
MAX_SHOWN = 100  # characters of a text in a message
MIN_SIGNAL = 1e-3  # the least abar_t at which a classifier guides ddim by default
# Repeated here so that `--help` need not import torch. A test compares both copies.
PRECISIONS = ("auto", "fp32", "bf16")


@refuses_as_bad_input
@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Request:
    """The settings of one sampling call. Image i depends only on seed + i, not on the batch.

    Raises BadInput, naming the field, for a value of another type or out of range. `check` compares with a model.
    """

    num_images: int = setting(16, "Number of images.", title="The number of images", ge=1, le=MAX_IMAGES)
    sampler: str = setting(
        PRESETS[DEFAULT][0],
        "dpm_solver is best at 8 to 20 steps, ddim from 25; ddpm, the papers' original method, needs 100 or more.",
        tuple(SAMPLER_TITLES),
    )
    steps: int | str = setting(
        PRESETS[DEFAULT][1],
        "Number of steps, or the timesteps: 10,15,20 (counts per section), ddim50, leading:20, trailing:20, "
        "quadratic:20.",
    )
    eta: float | None = setting(
        None,
        "Fresh noise in each step, from 0 (deterministic) to 1 (ancestral); not used by ddpm. Default: "
        f"{usual_eta('dpm_solver'):g} for dpm_solver, {usual_eta('ddim'):g} for ddim.",
        ge=0,
        le=1,
    )
    seed: int = setting(
        0, "Seed of the first image. Image i depends only on seed + i.", title="The seed", ge=0, le=MAX_SEED
    )
    class_index: int | None = setting(None, "Class of all images. Default: drawn from the seed of each image.")
    guidance_scale: float = setting(
        1.0,
        "Scale of classifier-free guidance. 1 is off, 2 to 4 follows the class more closely.",
        title="The guidance scale",
        ge=0,
        le=100,
    )
    precision: str = setting(
        "auto", "Precision of the network: bf16, fp32, or auto, whichever is faster on this machine.", PRECISIONS
    )
    guidance_interval: tuple[int, int] | None = setting(
        None,
        "Lowest and highest t at which guidance acts. Default: the noisier 60 %, or all for a scale below 1.",
        title="The guidance interval",
    )
    classifier_scale: float = setting(
        0.0, "Scale of classifier guidance. 0 is off, 1 to 4 is usual.", title="The classifier scale", ge=0, le=100
    )

    @field_validator("*")
    @classmethod
    def _is_a_choice(cls, value: Any, info: ValidationInfo) -> Any:
        return check_choice(value, info, fields_of(cls))

    @field_validator("steps", mode="before")
    @classmethod
    def _is_a_number_or_a_spacing(cls, value: Any) -> Any:
        """Raise BadInput for "12": as text it would mean other timesteps than the number 12 does."""
        is_spacing = isinstance(value, str) and not value.strip().isdecimal()
        if is_spacing or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise BadInput(
            f"Steps must be a whole number, or text such as 10,15,20, ddim50 or trailing:20, not {value!r}.", "steps"
        )

    @field_validator("guidance_interval", mode="before")
    @classmethod
    def _is_two_timesteps(cls, value: Any) -> Any:
        """Return a list as a tuple, as JSON has no tuples."""
        numbers = list(value) if isinstance(value, list | tuple) else []
        if value is None or [type(number) for number in numbers] == [int, int]:
            return value if value is None else tuple(numbers)
        raise BadInput(
            f"The guidance interval must be a lower and a higher t, such as 400 and 999, not {value!r}.",
            "guidance_interval",
        )

    def check(self, description: CheckpointMetadata) -> None:
        """Raise BadInput if the model does not support a setting."""
        check_steps(self.steps, description)
        last = description.num_train_timesteps - 1
        low, high = self.guidance_interval or (0, last)
        if not 0 <= low <= high <= last:
            raise BadInput(
                f"The guidance interval must be a lower and a higher t, both from 0 to {last}, not {(low, high)}.",
                "guidance_interval",
            )
        if self.class_index is not None and not 0 <= self.class_index < len(description.class_names):
            raise BadInput(f"There is no class {self.class_index}. {_available_classes(description)}", "class_index")
        if self.guidance_scale != 1 and not description.guidance:
            raise BadInput(
                "This model was trained without a null class, so it does not support classifier-free guidance."
                " Set the guidance scale to 1.",
                "guidance_scale",
            )

    @property
    def guided(self) -> bool:
        """Whether the null class or a classifier guides the samples."""
        return self.guidance_scale != 1 or self.classifier_scale != 0

    def resolved(self, diffusion: "Diffusion") -> "Request":
        """Return the request with the usual values in place of None, and without an interval that nothing uses."""
        eta = usual_eta(self.sampler) if self.eta is None else self.eta
        interval = (self.guidance_interval or self._usual_interval(diffusion)) if self.guided else None
        return replace(self, eta=eta, guidance_interval=interval)

    def _usual_interval(self, diffusion: "Diffusion") -> tuple[int, int]:
        """Return the lowest and highest t at which guidance acts by default.

        A scale below 1 takes the class away, which has no effect if the class comes back at low noise.
        A classifier does not guide ddim at the noisiest timesteps: ddim does not clip the shifted x_0 (ADM Algorithm
        2), and the shift is scaled by 1/sqrt(abar), which reaches 20,000 at the end of a cosine schedule.
        """
        low, high = default_guidance_interval(len(diffusion))
        low = 0 if self.guidance_scale < 1 else low
        if self.classifier_scale and self.sampler == "ddim":
            high = min(high, int((diffusion.abar >= MIN_SIGNAL).sum()) - 1)
        return min(low, high), high


def request_timesteps(request: Request, diffusion: "Diffusion") -> list[int]:
    """Return the timesteps that the request visits, in ascending order.

    A number of steps is spaced evenly in log SNR for dpm_solver, and evenly in t for the other samplers.
    """
    from diffusion_demo.diffusion.timesteps import log_snr_timesteps, spaced_timesteps

    if request.sampler == "dpm_solver" and isinstance(request.steps, int):
        return log_snr_timesteps(diffusion.abar, request.steps)
    return spaced_timesteps(len(diffusion), request.steps)


def check_steps(steps: int | str, description: CheckpointMetadata) -> None:
    """Raise BadInput if `steps` does not fit the number of timesteps the model was trained with."""
    from diffusion_demo.diffusion.timesteps import spaced_timesteps

    try:
        spaced_timesteps(description.num_train_timesteps, steps)
    except ValueError as error:
        raise BadInput(f"{str(error)[:1].upper()}{str(error)[1:]}.", "steps") from error


def class_index(name: str, description: CheckpointMetadata) -> int:
    """Return the index of a class given by name, title or number. Raises BadInput, listing the classes, if unknown."""
    for names in (description.class_names, [description.title(c) for c in description.class_names]):
        if name in names:
            return names.index(name)
    if name.isdecimal() and len(name) <= MAX_DIGITS and int(name) < len(description.class_names):
        return int(name)
    raise BadInput(f"There is no class {name[:MAX_SHOWN]!r}. {_available_classes(description)}")


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
