"""The images that are measured: sampled from a checkpoint once for all measures, or given as a folder or a sample batch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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

OF_ONE_IMAGE = ("seed", "class", "num_images")


@dataclass(frozen=True, eq=False)
class Samples:
    """Images uint8 [N, C, S, S], their classes int64 [N] where these are known, and for the report what is known of their making."""

    images: Tensor
    labels: Tensor | None
    made: dict


def sampled(
    checkpoint: Checkpoint,
    name: str,
    request: Request,
    specs: list[ImageSpec],
    work: Path | None,
    progress: Callable[[int], None],
) -> Samples:
    """These images of the checkpoint, kept in the folder work/samples and taken from there where they are in it."""
    if work:
        images = torch.stack(
            [_read(path) for path in sample_to_folder(checkpoint, name, request, specs, work / "samples", progress)]
        )
    else:
        parts = []
        for start in range(0, len(specs), BATCH_SIZE):
            parts.append(to_uint8(last_step(sample_batch(checkpoint, request, specs[start : start + BATCH_SIZE])).xt))
            progress(len(parts[-1]))
        images = torch.cat(parts)
    labels = torch.tensor([spec.class_index for spec in specs]) if checkpoint.description.class_names else None
    return Samples(images, labels, _made(settings_of(request, specs, name, checkpoint)))


def _read(path: Path) -> Tensor:
    with Image.open(path) as image:
        array = np.asarray(image)
    return torch.from_numpy(array.reshape(*array.shape[:2], -1).transpose(2, 0, 1).copy())


def given(path: str | Path) -> Samples:
    """The images of a sample batch, or of a folder or zip, where all are squares of one size. Raises BadInput for others."""
    if is_npz(path):
        images, labels = read_npz(path)
        if images.shape[2] != images.shape[3]:
            raise BadInput(f"The images of {path} must be square, not {images.shape[3]} x {images.shape[2]}.")
        return Samples(images, labels, {})
    found = data.scan(path)
    if found.rejected:
        name, reason = next(iter(found.rejected.items()))
        raise BadInput(f"{name} of the samples in {path} cannot be read: {reason}")
    if len({side for entry in found.entries for side in (entry.width, entry.height)}) > 1:
        raise BadInput(f"The samples in {path} must all be squares of one size; give the folder that holds them alone.")
    images = data.examples(found, len(found.entries), data.ImageTransform(found.entries[0].width, 3))
    try:
        made = _made([read_settings(Path(path) / entry.name) for entry in found.entries])
    except BadInput:  # images that were not made here
        made = {}
    return Samples(images, None, made)


def _made(settings: list[dict]) -> dict:
    """What the settings of all the images share, with the first and the last seed; nothing where they are not of one making."""
    shared = [{name: value for name, value in one.items() if name not in OF_ONE_IMAGE} for one in settings]
    seeds = [one["seed"] for one in settings if "seed" in one]
    return (
        shared[0] | {"seeds": [min(seeds), max(seeds)]}
        if len(seeds) == len(settings) and all(one == shared[0] for one in shared)
        else {}
    )
