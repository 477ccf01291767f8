"""Images near an image, and between two: noised to t, and brought back by the model. DDPM section 4.3."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from diffusion_demo import __version__
from diffusion_demo.diffusion.guidance import classifier_free
from diffusion_demo.diffusion.process import Denoiser, Diffusion
from diffusion_demo.diffusion.reconstruction import interpolate, reconstruct
from diffusion_demo.diffusion.samplers import Step
from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import Checkpoint
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.models.unet import as_denoiser
from diffusion_demo.runtime.device import resolve_precision
from diffusion_demo.sampling.generate import make_noise
from diffusion_demo.sampling.request import ImageSpec, Request


@dataclass(frozen=True)
class Variation:
    """How images are varied: noised to how_far percent of the chain, and brought back in at most `steps` ancestral steps.

    Image i is made from seed + i. class_index None asks for no class in particular, so that guidance has nothing to hold on to.
    """

    num_images: int = 8
    how_far: float = 50.0
    steps: int = 25
    seed: int = 0
    class_index: int | None = None
    guidance_scale: float = 1.0
    precision: str = "auto"

    def check(self, description: CheckpointMetadata) -> None:
        """Raise BadInput, in one sentence, for what the model cannot do."""
        if not 0 < self.how_far <= 100:
            raise BadInput(f"How far must be more than 0 and at most 100 percent, not {self.how_far:g}.")
        if not 1 <= self.steps <= description.num_train_timesteps:
            raise BadInput(f"Steps must be from 1 to {description.num_train_timesteps}, not {self.steps}.")
        Request(
            self.num_images, seed=self.seed, steps=1, class_index=self.class_index, guidance_scale=self.guidance_scale
        ).check(description)

    def level(self, num_timesteps: int) -> int:
        """The t, of 0 .. T-1, that how_far stands for."""
        return max(1, round(self.how_far / 100 * num_timesteps)) - 1

    def chain(self, diffusion: Diffusion) -> Diffusion:
        """The part of the chain that is walked: from that t down to 0, in steps as even as can be."""
        top = self.level(len(diffusion))
        count = min(self.steps, top + 1)
        return diffusion.respaced([round(i * top / max(1, count - 1)) if count > 1 else top for i in range(count)])

    def images(self) -> list[ImageSpec]:
        return [ImageSpec(seed, self.class_index) for seed in range(self.seed, self.seed + self.num_images)]


@torch.no_grad()
def vary(checkpoint: Checkpoint, x0: Tensor, how: Variation) -> Iterator[Step]:
    """Variations of one image x0, float [1, C, S, S] in [-1, 1], each with its own noise. DDPM Figure 7. Raises BadInput before the first step."""
    how.check(checkpoint.description)
    noise, chain = make_noise(checkpoint, how.images()), how.chain(checkpoint.diffusion)
    copies = x0.to(checkpoint.unet.device).expand(how.num_images, -1, -1, -1)
    xt = checkpoint.diffusion.q_sample(copies, how.level(len(checkpoint.diffusion)), noise())
    model, condition = _asked(checkpoint, how)
    yield from reconstruct(model, chain, xt, len(chain) - 1, noise, **condition)


@torch.no_grad()
def mix(checkpoint: Checkpoint, a: Tensor, b: Tensor, how: Variation) -> Iterator[Step]:
    """Images from a to b, each float [1, C, S, S] in [-1, 1], at equal distances, both ends among them. DDPM Figure 8.

    Raises BadInput before the first step.
    """
    how.check(checkpoint.description)
    if how.num_images < 2:
        raise BadInput(f"Between two images there must be at least 2, their own, not {how.num_images}.")
    noise, chain = make_noise(checkpoint, how.images()), how.chain(checkpoint.diffusion)
    model, condition = _asked(checkpoint, how)
    a, b = a.to(checkpoint.unet.device), b.to(checkpoint.unet.device)
    yield from interpolate(model, chain, a, b, torch.linspace(0, 1, how.num_images), len(chain) - 1, noise, **condition)


def _asked(checkpoint: Checkpoint, how: Variation) -> tuple[Denoiser, dict]:
    """The denoiser and what it is told of classes: the one asked for, else the null class where that was trained, else each class in turn."""
    about, device = checkpoint.description, checkpoint.unet.device
    model = as_denoiser(checkpoint.unet, resolve_precision(how.precision, device))
    if not about.class_names or not getattr(checkpoint.unet, "config", {}).get("num_class_embeds"):
        return model, {}
    if how.class_index is not None:
        labels = [how.class_index] * how.num_images
        if how.guidance_scale != 1:
            model = classifier_free(model, how.guidance_scale, about.null_class, about.channels)
    else:
        labels = [about.null_class if about.guidance else i % len(about.class_names) for i in range(how.num_images)]
    return model, {"class_labels": torch.tensor(labels, device=device)}


def settings_of(
    how: Variation, checkpoint_name: str, checkpoint: Checkpoint, made_by: str, sources: list[dict | None]
) -> list[dict]:
    """For each image, how it was made: the text inside its PNG. sources are the settings of the images that it was made from, where known."""
    common = asdict(how) | {
        "program": f"diffusion_demo {__version__}",
        "made_by": made_by,
        "checkpoint": checkpoint_name,
        "weights": checkpoint.weights,
        "precision": resolve_precision(how.precision, checkpoint.unet.device),
        "of": [source and {name: value for name, value in source.items() if name != "of"} for source in sources],
    }
    index = common.pop("class_index")
    named = {} if index is None else {"class": checkpoint.description.class_names[index]}
    return [common | named | {"seed": image.seed, "picture": i} for i, image in enumerate(how.images())]
