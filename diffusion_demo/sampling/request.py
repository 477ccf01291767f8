"""What is asked of a model: how many images, from which seeds and classes, by which sampler, steps and guidance."""

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
    """What to sample. Image i is made from seed + i alone; class_index None draws each image's class from its seed.

    steps is a count, or the words of timesteps.spaced_timesteps. guidance_scale is classifier-free guidance's, 1 for none; classifier_scale that of
    a classifier's, 0 for none; guidance_interval the lowest and the highest t, of 0 .. T-1, at which either acts (none: at all that are sound).
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
        """Raise BadInput, in one sentence, for what the model cannot do."""
        if self.num_images < 1:
            raise BadInput(f"The number of images must be at least 1, not {self.num_images}.")
        if self.sampler not in SAMPLERS:
            raise BadInput(f"There is no sampler {self.sampler!r}; choose one of {', '.join(SAMPLERS)}.")
        check_steps(self.steps, description)
        if not 0 <= self.eta <= 1:
            raise BadInput(f"Eta must be from 0 (deterministic) to 1 (ancestral), not {self.eta:g}.")
        if not 0 <= self.seed <= MAX_SEED:
            raise BadInput(f"The seed must be a whole number from 0 to {MAX_SEED}, not {self.seed}.")
        if not 0 <= self.guidance_scale <= 100:
            raise BadInput(f"The guidance scale must be from 0 to 100, not {self.guidance_scale:g}.")
        if not 0 <= self.classifier_scale <= 100:
            raise BadInput(f"The classifier's scale must be from 0 (off) to 100, not {self.classifier_scale:g}.")
        last = description.num_train_timesteps - 1
        if (
            self.guidance_interval is not None
            and not 0 <= self.guidance_interval[0] <= self.guidance_interval[1] <= last
        ):
            raise BadInput(
                f"Guidance acts from a lower t to a higher, both from 0 to {last}; not {self.guidance_interval}."
            )
        if self.precision not in PRECISIONS:
            raise BadInput(f"Precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}.")
        if self.class_index is not None and not 0 <= self.class_index < len(description.class_names):
            raise BadInput(f"There is no class {self.class_index}; {_classes_sentence(description)}")
        if self.guidance_scale != 1 and not description.guidance:
            raise BadInput(
                "This model was trained without a null class, so it cannot be guided; set the guidance scale to 1."
            )


def request_timesteps(request: Request, diffusion: Diffusion) -> list[int]:
    """The timesteps that a request visits, ascending: dpm_solver's are even in log SNR, the others' in t, unless the request names them."""
    if request.sampler == "dpm_solver" and isinstance(request.steps, int):
        return log_snr_timesteps(diffusion.abar, request.steps)
    return spaced_timesteps(len(diffusion), request.steps)


def check_steps(steps: int | str, description: CheckpointMetadata) -> None:
    """Raise BadInput for steps that the model's chain cannot be walked in."""
    try:
        spaced_timesteps(description.num_train_timesteps, steps)
    except ValueError as error:
        raise BadInput(f"{str(error)[:1].upper()}{str(error)[1:]}.") from error


def class_index(name: str, description: CheckpointMetadata) -> int:
    """The index of a class given by name, title or number. Raises BadInput, naming the classes that there are."""
    for words in (description.class_names, [description.title(c) for c in description.class_names]):
        if name in words:
            return words.index(name)
    if name.isdecimal() and int(name) < len(description.class_names):
        return int(name)
    raise BadInput(f"There is no class {name!r}; {_classes_sentence(description)}")


def _classes_sentence(description: CheckpointMetadata) -> str:
    if not description.class_names:
        return "this model has no classes."
    return f"choose one of {', '.join(map(description.title, description.class_names))}, or a number from 0 to {len(description.class_names) - 1}."


def draw_class(seed: int, num_classes: int) -> int:
    """The class that a seed draws when none is asked for."""
    return random.Random(seed).randrange(num_classes)


class ImageSpec(NamedTuple):
    """What tells one image of a request from the others: its seed, and its class (None for a model without classes)."""

    seed: int
    class_index: int | None


def image_specs(request: Request, description: CheckpointMetadata) -> list[ImageSpec]:
    """The images of a request: seed + i each, with the class that was asked for or the one that the seed draws."""
    seeds = range(request.seed, request.seed + request.num_images)
    if not description.class_names:
        return [ImageSpec(seed, None) for seed in seeds]
    if request.class_index is not None:
        return [ImageSpec(seed, request.class_index) for seed in seeds]
    return [ImageSpec(seed, draw_class(seed, len(description.class_names))) for seed in seeds]
