"""What every measure sees an image through: one pass over the images gives its feature vectors, spatial features and class probabilities."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Features(NamedTuple):
    """Of N images, float32 on the CPU: vectors [N, D], spatial [N, S] (channels at positions, flattened), probabilities [N, classes]."""

    vectors: Tensor
    spatial: Tensor
    probabilities: Tensor


@dataclass(frozen=True, eq=False)
class Extractor:
    """A frozen network as a judge of images. read: uint8 [n, 3, H, W] of any size on the CPU -> Features, batch_size of them at a time."""

    name: str
    read: Callable[[Tensor], Features]
    batch_size: int

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Features:
        """The features of uint8 images [N, C, H, W]; a gray one (C = 1) is read as a color image."""
        read = [self.read(batch.expand(-1, 3, -1, -1)) for batch in pixels.split(self.batch_size)]
        return Features(*(torch.cat(parts).float().cpu() for parts in zip(*read, strict=True)))
