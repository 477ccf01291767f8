"""Feature extractor shared by all metrics: one forward pass gives vectors, spatial features and class probabilities."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Features(NamedTuple):
    """Features of N images, float32 on the CPU.

    vectors [N, D]; spatial [N, S], flattened channels and positions; probabilities [N, classes].
    """

    vectors: Tensor
    spatial: Tensor
    probabilities: Tensor


@dataclass(frozen=True, eq=False)
class Extractor:
    """A frozen network that extracts features in batches of batch_size.

    forward maps uint8 [n, 3, H, W] images of any size on the CPU to Features. is_papers: its features are those of the
    papers' evaluator, whose reference batches store their statistics.
    """

    name: str
    forward: Callable[[Tensor], Features]
    batch_size: int
    is_papers: bool = False

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Features:
        """Return the features of uint8 images [N, C, H, W]; grayscale images (C = 1) are expanded to three channels."""
        batches = [self.forward(batch.expand(-1, 3, -1, -1)) for batch in pixels.split(self.batch_size)]
        return Features(*(torch.cat(parts).float().cpu() for parts in zip(*batches, strict=True)))
