"""Matching of the classes of a data set with those of a checkpoint."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.sampling.request import ImageSpec, Request


def class_indices(names: tuple[str, ...], description: CheckpointMetadata) -> Tensor:
    """Return the model's index of each class of the data, then that of an image without class: int64 [len(names) + 1].

    Classes that the model does not know get the null class. Raises BadInput if the model has classes but no null class,
    and one is needed.
    """
    if not description.class_names:
        return torch.zeros(len(names) + 1, dtype=torch.int64)
    known = {name: i for i, name in enumerate(description.class_names)}
    if not description.guidance and not (names and set(names) <= known.keys()):
        raise BadInput(
            "The model has no null class for images of classes it does not know."
            f" Name the folders of the data {_first_names(description.class_names)}."
        )
    return torch.tensor([known.get(name, description.null_class) for name in [*names, None]])


def _first_names(names: tuple[str, ...]) -> str:
    return ", ".join(names[:12]) + (" and so on" if len(names) > 12 else "")


def specs_in_data_proportions(
    counts: Mapping[str, int], description: CheckpointMetadata, request: Request
) -> list[ImageSpec]:
    """Return the request's seeds, with the model's classes in the proportions of the data.

    counts: the number of images of each class of the data. Every prefix of the list approximates their proportions as
    closely as possible. The null class is left out. If the data has none of the model's classes, all are equally
    frequent.
    """
    seeds = range(request.seed, request.seed + request.num_images)
    if not description.class_names:
        return [ImageSpec(seed, None) for seed in seeds]
    sizes = np.array([counts.get(name, 0) for name in description.class_names], float)
    shares = sizes / sizes.sum() if sizes.any() else np.full(len(sizes), 1 / len(sizes))
    assigned, specs = np.zeros(len(shares)), []
    for i, seed in enumerate(seeds):
        index = int(np.argmax(shares * (i + 1) - assigned))
        assigned[index] += 1
        specs.append(ImageSpec(seed, index))
    return specs
