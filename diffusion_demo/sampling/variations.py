"""Variations of one image and interpolations between two: noised to t, then denoised by the model. DDPM section 4.3."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
from pydantic import ConfigDict, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from diffusion_demo import __version__
from diffusion_demo.diffusion.denoiser import Denoiser
from diffusion_demo.diffusion.guidance import classifier_free
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.reconstruction import interpolate, reconstruct
from diffusion_demo.diffusion.samplers import Step
from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import Checkpoint
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.runtime.device import resolve_precision
from diffusion_demo.sampling.generate import device_of, make_noise, non_finite_as_bad_input
from diffusion_demo.sampling.request import MAX_SEED, PRECISIONS, ImageSpec, Request
from diffusion_demo.validation import check_choice, fields_of, refuses_as_bad_input, setting


@refuses_as_bad_input
@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Variation:
    """The settings of a variation: noise to how_far percent of the chain, then at most `steps` ancestral steps back.

    Image i uses the noise of seed + i. With class_index None the images have no class in common, so guidance is off.
    Raises BadInput, naming the field, for a value of another type or out of range.
    """

    num_images: int = setting(8, "Number of images.", title="The number of images", ge=1)
    how_far: float = setting(50.0, "Amount of noise, in percent of the chain.", gt=0, le=100)
    steps: int = setting(25, "Number of ancestral steps back.", ge=1)
    seed: int = setting(0, "Seed of the noise of the first image.", title="The seed", ge=0, le=MAX_SEED)
    class_index: int | None = setting(None, "Class of all images.")
    guidance_scale: float = setting(
        1.0, "Scale of classifier-free guidance; 1 is off.", title="The guidance scale", ge=0, le=100
    )
    precision: str = setting("auto", "Precision of the network.", PRECISIONS)

    @field_validator("*")
    @classmethod
    def _is_a_choice(cls, value: Any, info: ValidationInfo) -> Any:
        return check_choice(value, info, fields_of(cls))

    def check(self, description: CheckpointMetadata) -> None:
        """Raise BadInput if the model does not support a setting."""
        Request(steps=self.steps, class_index=self.class_index, guidance_scale=self.guidance_scale).check(description)

    def level(self, num_timesteps: int) -> int:
        """Return the timestep t in 0 .. T-1 that corresponds to how_far."""
        return max(1, round(self.how_far / 100 * num_timesteps)) - 1

    def chain(self, diffusion: Diffusion) -> Diffusion:
        """Return the chain from that t down to 0, respaced to evenly spaced timesteps."""
        top = self.level(len(diffusion))
        count = min(self.steps, top + 1)
        return diffusion.respaced([round(i * top / max(1, count - 1)) if count > 1 else top for i in range(count)])

    def image_specs(self) -> list[ImageSpec]:
        """Return the seed and the class of each image."""
        return [ImageSpec(seed, self.class_index) for seed in range(self.seed, self.seed + self.num_images)]


@torch.no_grad()
def vary(checkpoint: Checkpoint, x0: Tensor, variation: Variation) -> Iterator[Step]:
    """Sample variations of one image x0, float [1, C, S, S] in [-1, 1], each with its own noise. DDPM Figure 7.

    Raises BadInput before the first step.
    """
    variation.check(checkpoint.description)
    noise, chain = make_noise(checkpoint, variation.image_specs(), "vary"), variation.chain(checkpoint.diffusion)
    copies = x0.to(device_of(checkpoint)).expand(variation.num_images, -1, -1, -1)
    xt = checkpoint.diffusion.q_sample(copies, variation.level(len(checkpoint.diffusion)), noise())
    model, condition = _denoiser_and_condition(checkpoint, variation)
    with non_finite_as_bad_input():
        yield from reconstruct(model, chain, xt, len(chain) - 1, noise, **condition)


@torch.no_grad()
def mix(checkpoint: Checkpoint, a: Tensor, b: Tensor, variation: Variation) -> Iterator[Step]:
    """Interpolate evenly from a to b, each float [1, C, S, S] in [-1, 1], both ends included. DDPM Figure 8.

    Raises BadInput before the first step.
    """
    variation.check(checkpoint.description)
    count, device = variation.num_images, device_of(checkpoint)
    if count < 2:
        raise BadInput(f"Mixing needs at least 2 images, the two ends, not {count}.")
    noise, chain = make_noise(checkpoint, variation.image_specs(), "vary"), variation.chain(checkpoint.diffusion)
    model, condition = _denoiser_and_condition(checkpoint, variation)
    weights = torch.linspace(0, 1, count)
    with non_finite_as_bad_input():
        yield from interpolate(model, chain, a.to(device), b.to(device), weights, len(chain) - 1, noise, **condition)


def _denoiser_and_condition(checkpoint: Checkpoint, variation: Variation) -> tuple[Denoiser, dict[str, Any]]:
    """Return the denoiser and its class labels: the requested class, else the null class, else each class in turn."""
    description, device, index = checkpoint.description, device_of(checkpoint), variation.class_index
    model = checkpoint.denoiser(resolve_precision(variation.precision, device))
    names, count = description.class_names, variation.num_images
    if not names or not getattr(checkpoint.unet, "config", {}).get("num_class_embeds"):
        return model, {}
    if index is not None:
        labels = [index] * count
        if variation.guidance_scale != 1:
            model = classifier_free(model, variation.guidance_scale, description.null_class, description.channels)
    elif description.guidance:
        labels = [description.null_class] * count
    else:
        labels = [i % len(names) for i in range(count)]
    return model, {"class_labels": torch.tensor(labels, device=device)}


def settings_of(
    variation: Variation,
    checkpoint_name: str,
    checkpoint: Checkpoint,
    made_by: str,
    sources: list[dict[str, Any] | None],
) -> list[dict[str, Any]]:
    """Return the settings of each image, as stored in its PNG.

    made_by: the name of the operation; sources: the settings of the source images, None where unknown.
    """
    common = asdict(variation) | {
        "program": f"diffusion_demo {__version__}",
        "made_by": made_by,
        "checkpoint": checkpoint_name,
        "weights": checkpoint.weights,
        "precision": resolve_precision(variation.precision, device_of(checkpoint)),
        "of": [source and {name: value for name, value in source.items() if name != "of"} for source in sources],
    }
    index = common.pop("class_index")
    named = {} if index is None else {"class": checkpoint.description.class_names[index]}
    return [common | named | {"seed": image.seed, "index": i} for i, image in enumerate(variation.image_specs())]
