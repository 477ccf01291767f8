"""Samples to evaluate: sampled from a checkpoint once for all metrics, or loaded from a folder or a sample batch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffusion_demo import data
from diffusion_demo.errors import BadInput
from diffusion_demo.evaluation.npz import is_npz, read_npz
from diffusion_demo.images import read_settings, to_uint8
from diffusion_demo.models.checkpoint import Checkpoint
from diffusion_demo.sampling.generate import last_step, sample_batch
from diffusion_demo.sampling.image_writer import BATCH_SIZE, sample_to_folder, settings_of
from diffusion_demo.sampling.request import ImageSpec, Request

PER_IMAGE_SETTINGS = ("seed", "class", "num_images")


@dataclass(frozen=True, eq=False)
class Samples:
    """Images uint8 [N, C, S, S], their classes int64 [N] if known, and the settings they share, for reports."""

    images: Tensor
    labels: Tensor | None
    settings: dict[str, Any]


def draw_samples(
    checkpoint: Checkpoint,
    name: str,
    request: Request,
    specs: list[ImageSpec],
    work: Path | None,
    progress: Callable[[int], object],
) -> Samples:
    """Sample these images from the checkpoint; with `work`, keep them in work/samples and reuse those already there."""
    if work:
        paths = sample_to_folder(checkpoint, name, request, specs, work / "samples", progress)
        metadata = checkpoint.description
        shape = (metadata.image_size, metadata.image_size, metadata.channels)
        images = torch.stack([_read_png(path, shape) for path in paths])
    else:
        parts = []
        for start in range(0, len(specs), BATCH_SIZE):
            parts.append(to_uint8(last_step(sample_batch(checkpoint, request, specs[start : start + BATCH_SIZE])).xt))
            progress(len(parts[-1]))
        images = torch.cat(parts)
    labels = torch.tensor([spec.class_index for spec in specs]) if checkpoint.description.class_names else None
    return Samples(images, labels, _shared_settings(settings_of(request, specs, name, checkpoint)))


def _read_png(path: Path, shape: tuple[int, int, int]) -> Tensor:
    """Return a sample of this or an earlier call, uint8 [C, S, S]. Raises BadInput if it is not an [S, S, C] image."""
    try:
        with Image.open(path) as image:
            array = np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInput(f"{path} is damaged. Remove it, and it will be sampled again.") from error
    array = array.reshape(*array.shape[:2], -1)
    if array.shape != shape:
        raise BadInput(f"{path} is not a sample of this model. Remove it, and it will be sampled again.")
    return torch.from_numpy(array.transpose(2, 0, 1).copy())


def load_samples(path: str | Path) -> Samples:
    """Load a sample batch, a folder or a zip of square images of one size. Raises BadInput for other images."""
    if is_npz(path):
        images, labels = read_npz(path)
        if images.shape[2] != images.shape[3]:
            raise BadInput(f"The images of {path} must be square, not {images.shape[3]} x {images.shape[2]}.")
        return Samples(images, labels, {})
    report = data.scan(path)
    if report.rejected:
        name, reason = next(iter(report.rejected.items()))
        raise BadInput(f"{name} of the samples in {path} cannot be read: {reason}")
    if len({side for entry in report.entries for side in (entry.width, entry.height)}) > 1:
        raise BadInput(f"The samples in {path} must all be squares of one size. Give a folder that holds only samples.")
    images = data.examples(report, len(report.entries), data.ImageTransform(report.entries[0].width, 3))
    try:
        settings = _shared_settings([read_settings(Path(path) / entry.name) for entry in report.entries])
    except BadInput:  # images from another program have no settings
        settings = {}
    return Samples(images, None, settings)


def _shared_settings(settings: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the settings that all images share, with the first and last seed; {} if the settings differ."""
    shared = [{name: value for name, value in one.items() if name not in PER_IMAGE_SETTINGS} for one in settings]
    seeds = [one["seed"] for one in settings if "seed" in one]
    if len(seeds) < len(settings) or any(one != shared[0] for one in shared):
        return {}
    return shared[0] | {"seeds": [min(seeds), max(seeds)]}
