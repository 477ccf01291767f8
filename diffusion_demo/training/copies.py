"""Check whether generated images are copies of training images, by their nearest training images in pixels."""

from typing import NamedTuple

import torch
from torch import Tensor

MAX_COMPARED = 20_000  # training images, evenly spaced, so that a comparison takes about a second
MAX_TYPICAL = 200  # images that the typical distance is measured on
BLOCK, BLOCK_BYTES = 2048, 64_000_000  # training images compared at once, and their bytes in float32
COPY_RATIO = 0.5  # of the typical distance; below it an image counts as a copy


class NearestImages(NamedTuple):
    """The nearest training image of each of N images, flipped if that is nearer: uint8 [N, C, S, S]; and the root mean
    square difference of the pixels: float32 [N].
    """

    images: Tensor
    distance: Tensor


class CopyCheck:
    """Compares generated images with training images.

    An image is a copy if it is nearer to its nearest training image than COPY_RATIO times the typical distance: the
    median distance of held-out images to theirs or, without any, of training images to their nearest other one.

    Args:
        training, held_out: Images uint8 [M, C, S, S] and [H, C, S, S].
        flip: Whether training flips images.
    """

    def __init__(self, training: Tensor, held_out: Tensor, flip: bool):
        self._flip = flip
        self._training = training  # may be a memory-mapped cache larger than the memory, so only blocks are copied
        self._rows = _spaced(len(training), MAX_COMPARED)
        self._held_out = held_out
        self._typical: float | None = None

    def nearest(self, images: Tensor) -> NearestImages:
        """Return the nearest training images of images uint8 [N, C, S, S]."""
        return self._nearest(images, None)

    def share_of_copies(self, distance: Tensor) -> float:
        """Return the share of images with these distances, float32 [N], that are copies."""
        return float((distance < COPY_RATIO * self.typical_distance()).float().mean())

    def typical_distance(self) -> float:
        """Return the typical distance of an image that is not a copy. It is measured once."""
        if self._typical is None:
            if len(self._held_out):
                distance = self._nearest(self._held_out[_spaced(len(self._held_out), MAX_TYPICAL)], None).distance
            else:
                rows = self._rows[_spaced(len(self._rows), MAX_TYPICAL)]
                distance = self._nearest(self._training[rows], rows).distance
            self._typical = float(distance.median())
        return self._typical

    def _nearest(self, images: Tensor, own_rows: Tensor | None) -> NearestImages:
        """Return the nearest training images, for training images (with `own_rows`) the nearest others."""
        queries = images.flatten(1).float()
        best = torch.full((len(images),), torch.inf)
        found = images.clone()
        for rows in self._rows.split(max(1, min(BLOCK, BLOCK_BYTES // (4 * queries.shape[1])))):
            block = self._training[rows]
            for view in (block, block.flip(3)) if self._flip else (block,):
                distances = torch.cdist(queries, view.flatten(1).float())
                if own_rows is not None:
                    distances[own_rows[:, None] == rows] = torch.inf
                nearest = distances.min(dim=1)
                is_nearer = nearest.values < best
                best = torch.where(is_nearer, nearest.values, best)
                found[is_nearer] = view[nearest.indices[is_nearer]]
        # The rounding error of cdist is as large as the distance of a near copy.
        exact = (queries - found.flatten(1).float()).square().mean(dim=1).sqrt()
        return NearestImages(found, torch.where(best.isinf(), torch.inf, exact))


def _spaced(total: int, count: int) -> Tensor:
    """Return at most `count` evenly spaced indices below `total`, int64."""
    return torch.arange(total) if total <= count else torch.arange(count) * total // count
