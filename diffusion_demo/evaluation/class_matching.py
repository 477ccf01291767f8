"""A checkpoint beside a scanned data set: its bound there, and the classes of both."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffusion_demo import data
from diffusion_demo.errors import BadInput
from diffusion_demo.evaluation.nll import measure_bound
from diffusion_demo.models.checkpoint import Checkpoint
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.sampling.request import ImageSpec, Request, check_steps

Progress = Callable[[int], None]


def measure_nll(
    checkpoint: Checkpoint,
    found: data.Report,
    steps: int | str | None,
    seed: int,
    work: Path | None,
    progress: Progress,
) -> dict:
    """The bound on the held-out images, or on all where none were held out. Raises BadInput for a step count that the chain cannot have."""
    description = checkpoint.description
    if steps is not None:
        check_steps(steps, description)
    held_out = any(entry.held_out for entry in found.entries)
    specs = data.load(found, description.image_size, description.channels, held_out=held_out)
    labels = class_indices(found.class_names, description)[specs.labels]
    bound = measure_bound(checkpoint, data.ImageTensors(specs.images, labels), steps, seed, work, progress)
    return {"held_out": held_out} | bound.report()


def class_indices(names: tuple[str, ...], description: CheckpointMetadata) -> Tensor:
    """The model's class index of each class of the data, and last of an image without one: int64 [len(names) + 1].

    What the model does not know is its null class. Raises BadInput when the model has classes, but no null class for that.
    """
    if not description.class_names:
        return torch.zeros(len(names) + 1, dtype=torch.int64)
    known = {name: i for i, name in enumerate(description.class_names)}
    if not description.guidance and not (names and set(names) <= known.keys()):
        raise BadInput(
            f"The model has classes, but no null class for images of others; call the data's folders {_few(description.class_names)}."
        )
    return torch.tensor([known.get(name, description.null_class) for name in [*names, None]])


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:12]) + (" and so on" if len(names) > 12 else "")


def specs_like_data(found: data.Report, description: CheckpointMetadata, request: Request) -> list[ImageSpec]:
    """The request's seeds, with the model's classes in the proportions of the data, as near as they can be in every beginning of the list.

    The null class is left out; where the data knows none of the model's classes, they are all as frequent.
    """
    return specs_in_proportion(Counter(entry.class_name for entry in found.entries), description, request)


def specs_in_proportion(counts: Counter[str], description: CheckpointMetadata, request: Request) -> list[ImageSpec]:
    """`specs_like_data` data that has so many images of each class."""
    seeds = range(request.seed, request.seed + request.num_images)
    if not description.class_names:
        return [ImageSpec(seed, None) for seed in seeds]
    sizes = np.array([counts[name] for name in description.class_names], float)
    shares = sizes / sizes.sum() if sizes.any() else np.full(len(sizes), 1 / len(sizes))
    drawn, specs = np.zeros(len(shares)), []
    for i, seed in enumerate(seeds):
        missing = int(np.argmax(shares * (i + 1) - drawn))
        drawn[missing] += 1
        specs.append(ImageSpec(seed, missing))
    return specs
