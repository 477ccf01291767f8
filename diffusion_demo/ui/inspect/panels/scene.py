"""What all panels look at: one image, one noise, one t, one model."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from diffusion_demo.data import ImageTransform, decode
from diffusion_demo.diffusion.process import Denoiser, Diffusion, Reverse, call_model
from diffusion_demo.images import to_float
from diffusion_demo.models.checkpoint import Checkpoint
from diffusion_demo.models.unet import as_denoiser


@dataclass(frozen=True, eq=False)
class Scene:
    """x0 and eps float32 [1, C, S, S] at the model's size, another image to mix with, and t as the page counts it: 1 .. T on the model's chain."""

    x0: Tensor
    other: Tensor
    eps: Tensor
    t: int
    seed: int
    checkpoint: Checkpoint
    spot: tuple[float, float] = (0.5, 0.5)

    @property
    def pixel(self) -> tuple[int, int, int, int]:
        """The chosen pixel's first channel: the spot is its share of the way from the left and from the top."""
        across, down = (min(round(share * self.x0.shape[-1]), self.x0.shape[-1] - 1) for share in self.spot)
        return 0, 0, down, across

    @property
    def chain(self) -> Diffusion:
        return self.checkpoint.diffusion

    @property
    def index(self) -> int:
        """t in the tables: 0 .. T-1."""
        return self.t - 1

    @property
    def xt(self) -> Tensor:
        return self.chain.q_sample(self.x0, self.index, self.eps)

    @cached_property
    def model(self) -> Denoiser:
        return as_denoiser(self.checkpoint.unet, "fp32")

    def labels(self, count: int) -> dict:
        """Whatever the model needs to be told of classes: that there is none, as far as it knows that."""
        description = self.checkpoint.description
        if not description.class_names:
            return {}
        return {
            "class_labels": torch.full(
                (count,), description.null_class if description.guidance else 0, device=self.x0.device
            )
        }

    @torch.no_grad()
    def p(self, xt: Tensor, index: int, clip: bool = True) -> Reverse:
        """p_theta(x_{t-1} | x_t) at the index for x_t [N, C, S, S]."""
        return self.chain.p(call_model(self.model, self.chain, xt, index, **self.labels(len(xt))), xt, index, clip)

    def draws(self, count: int, salt: int) -> Tensor:
        """Standard normal noise [count, C, S, S] that belongs to this scene alone."""
        generator = torch.Generator().manual_seed(1000 * self.seed + salt)
        return torch.randn(count, *self.x0.shape[1:], generator=generator).to(self.x0.device)

    def steps_from_here(self, most: int) -> Diffusion:
        """The chain from t down to 0 in at most so many steps, evenly spread, t among them."""
        count = min(most, self.t)
        return self.chain.respaced([round(self.index - i * self.index / max(1, count - 1)) for i in range(count)])


def scene_of(
    image: str, other: str, seed: int, share: float, checkpoint: Checkpoint, spot: tuple[float, float] = (0.5, 0.5)
) -> Scene:
    """The scene of an image file at share t/T of the model's chain. Raises Unreadable for a file that is no image."""
    about = checkpoint.description
    transform = ImageTransform(about.image_size, about.channels)
    x0, second = (
        to_float(torch.from_numpy(decode(Path(path).read_bytes(), transform).copy())[None]).to(checkpoint.unet.device)
        for path in (image, other)
    )
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed)).to(x0.device)
    steps = len(checkpoint.diffusion)
    return Scene(x0, second, eps, min(steps, max(1, round(share * steps))), seed, checkpoint, spot)
