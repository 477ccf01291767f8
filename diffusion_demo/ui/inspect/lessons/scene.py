"""Input of all lessons: an image, noise, a timestep and a model."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion_demo.data import ImageTransform, decode
from diffusion_demo.diffusion.denoiser import Denoiser, call_model
from diffusion_demo.diffusion.oracles import finite_set
from diffusion_demo.diffusion.process import Diffusion, Reverse
from diffusion_demo.images import to_float
from diffusion_demo.models.checkpoint import Checkpoint
from diffusion_demo.models.oracle_models import IMAGES, OracleNetwork
from diffusion_demo.ui.inspect.image_file import load_image

KNOWN_IMAGES = tuple(sorted(IMAGES.glob("seed_*.png")))  # the images that the optimal denoiser knows
MIN_SIGNAL = 1e-12  # abar_t below which x_0 cannot be computed from eps


@dataclass(frozen=True, eq=False)
class Scene:
    """An image x0, another image and noise eps, each float32 [1, C, S, S] at the model's size, and t in 1 .. T.

    spot: the position of the selected pixel, as fractions of width and height. is_clean: t = 0 was asked for, which has
    no step, so t is 1. other_name: what the other image is called on the page.
    """

    x0: Tensor
    other: Tensor
    eps: Tensor
    t: int
    seed: int
    checkpoint: Checkpoint
    spot: tuple[float, float] = (0.5, 0.5)
    is_clean: bool = False
    other_name: str = "the image under <em>Blend with</em>"

    @property
    def pixel(self) -> tuple[int, int, int, int]:
        """Index of the first channel of the selected pixel: (0, 0, row, column)."""
        column, row = (min(round(share * self.x0.shape[-1]), self.x0.shape[-1] - 1) for share in self.spot)
        return 0, 0, row, column

    @property
    def chain(self) -> Diffusion:
        """Diffusion process of the model."""
        return self.checkpoint.diffusion

    @property
    def index(self) -> int:
        """Index of t in the tables, in 0 .. T-1."""
        return self.t - 1

    @property
    def xt(self) -> Tensor:
        """Noisy image x_t, float32 [1, C, S, S]."""
        return self.chain.q_sample(self.x0, self.index, self.eps)

    @property
    def denoiser_name(self) -> str:
        """Name of the model in sentences: an exact model is not a network."""
        return "exact model" if isinstance(self.checkpoint.unet, OracleNetwork) else "network"

    @cached_property
    def model(self) -> Denoiser:
        """Denoiser in fp32."""
        return self.checkpoint.denoiser("fp32")

    def labels(self, count: int) -> dict[str, Any]:
        """Return the model arguments for `count` images: the null class if the model has one, otherwise class 0."""
        metadata = self.checkpoint.description
        if not metadata.class_names:
            return {}
        label = metadata.null_class if metadata.guidance else 0
        assert label is not None, "a model with guidance has a null class"
        return {"class_labels": torch.full((count,), label, device=self.x0.device)}

    @torch.no_grad()
    def p(self, xt: Tensor, index: int, clip: bool = True) -> Reverse:
        """Return p_theta(x_{t-1} | x_t) at table index `index` for x_t, float [N, C, S, S]."""
        return self.chain.p(call_model(self.model, self.chain, xt, index, **self.labels(len(xt))), xt, index, clip)

    @cached_property
    def known(self) -> Tensor:
        """The sixteen images of the optimal denoiser, float32 [16, C, S, S] at the model's size."""
        metadata = self.checkpoint.description
        transform = ImageTransform.of(metadata)
        pixels = [torch.from_numpy(decode(path.read_bytes(), transform).copy()) for path in KNOWN_IMAGES]
        return to_float(torch.stack(pixels)).to(self.x0.device)

    def optimal_x0(self, xt: Tensor, index: int) -> Tensor:
        """Return E[x_0 | x_t] if x_0 is one of the `known` images, each equally likely; float, the shape of x_t."""
        if float(self.chain.abar[index]) < MIN_SIGNAL:  # x_t is pure noise
            return self.known.mean(0, keepdim=True).expand_as(xt)
        eps = finite_set(self.known, self.chain.abar)(xt, torch.full((len(xt),), index))
        return self.chain.x0_from_eps(xt.cpu().double(), index, eps.cpu().double()).to(xt)

    def draws(self, count: int, salt: int) -> Tensor:
        """Return standard normal noise, float32 [count, C, S, S], seeded by the scene and `salt`."""
        generator = torch.Generator().manual_seed(1000 * self.seed + salt)
        return torch.randn(count, *self.x0.shape[1:], generator=generator).to(self.x0.device)

    def respaced_from_t(self, max_steps: int) -> Diffusion:
        """Return the chain from t down to 0 in at most `max_steps` evenly spaced steps, which include t."""
        count = min(max_steps, self.t)
        return self.chain.respaced([round(self.index - i * self.index / max(1, count - 1)) for i in range(count)])


def load_scene(
    image: str | Path,
    other: str | Path,
    seed: int,
    relative_t: float,
    checkpoint: Checkpoint,
    spot: tuple[float, float] = (0.5, 0.5),
) -> Scene:
    """Load the scene of two image files at relative_t = t / T.

    Raises UnreadableImage for a file that is not an image.
    """
    metadata, device = checkpoint.description, checkpoint.unet.device
    assert isinstance(device, torch.device)
    transform = ImageTransform.of(metadata)
    x0, second = (
        to_float(torch.from_numpy(load_image(path, transform).copy())[None]).to(device) for path in (image, other)
    )
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed)).to(x0.device)
    steps = len(checkpoint.diffusion)
    t = round(relative_t * steps)
    return Scene(x0, second, eps, min(steps, max(1, t)), seed, checkpoint, spot, is_clean=t < 1)
