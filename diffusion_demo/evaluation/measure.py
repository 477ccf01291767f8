"""A checkpoint and a scanned data set -> the figures that `evaluate` reports, ready for JSON."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffusion_demo import data
from diffusion_demo.errors import BadInput
from diffusion_demo.evaluation.bound import measure_bound
from diffusion_demo.evaluation.features import JUDGE, features_of, load_judge
from diffusion_demo.evaluation.frechet import frechet_estimate
from diffusion_demo.images import to_uint8
from diffusion_demo.models.checkpoint import Checkpoint
from diffusion_demo.models.description import Description
from diffusion_demo.sampling import BATCH_SIZE, Picture, Request, check_steps, last_step, sample_batch, sample_to_folder

Progress = Callable[[int], None]


def measure_nll(checkpoint: Checkpoint, found: data.Report, steps: int | str | None, seed: int, work: Path | None, progress: Progress) -> dict:
    """The bound on the held-out pictures, or on all where none were held out. Raises BadInput for a step count that the chain cannot have."""
    description = checkpoint.description
    if steps is not None:
        check_steps(steps, description)
    held_out = any(entry.held_out for entry in found.entries)
    pictures = data.load(found, description.image_size, description.channels, held_out=held_out)
    labels = class_indices(found.class_names, description)[pictures.labels]
    bound = measure_bound(checkpoint, data.Pictures(pictures.images, labels), steps, seed, work, progress)
    return {"held_out": held_out} | bound.report()


def class_indices(names: tuple[str, ...], description: Description) -> Tensor:
    """The model's class index of each class of the data, and last of a picture without one: int64 [len(names) + 1].

    What the model does not know is its null class. Raises BadInput when the model has classes, but no null class for that.
    """
    if not description.class_names:
        return torch.zeros(len(names) + 1, dtype=torch.int64)
    known = {name: i for i, name in enumerate(description.class_names)}
    if not description.guidance and not (names and set(names) <= known.keys()):
        raise BadInput(f"The model has classes, but no null class for pictures of others; call the data's folders {_few(description.class_names)}.")
    return torch.tensor([known.get(name, description.null_class) for name in [*names, None]])


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:12]) + (" and so on" if len(names) > 12 else "")


def measure_fd(checkpoint: Checkpoint, name: str, found: data.Report, request: Request, work: Path | None, progress: Progress) -> dict:
    """The Frechet distance of samples, in the data's own mix of classes, from all pictures of the data.

    Raises BadInput for a request that the model cannot meet, or fewer than two pictures on either side.
    """
    description = checkpoint.description
    request.check(description)
    if request.num_images < 2 or len(found.entries) < 2:
        raise BadInput("A Frechet distance needs at least two samples and two pictures to compare them with.")
    pictures = pictures_like(found, description, request)
    if work:
        paths = sample_to_folder(checkpoint, name, request, pictures, work / "samples", progress)
        samples = torch.stack([_read(path) for path in paths])
    else:
        samples = []
        for start in range(0, len(pictures), BATCH_SIZE):
            samples.append(to_uint8(last_step(sample_batch(checkpoint, request, pictures[start : start + BATCH_SIZE])).xt))
            progress(len(samples[-1]))
        samples = torch.cat(samples)
    parts = [data.load(found, description.image_size, description.channels, held_out=part) for part in (False, True)]
    reference = torch.cat([part.images for part in parts])
    judge = load_judge(checkpoint.unet.device)
    estimate = frechet_estimate(features_of(samples, judge), features_of(reference, judge))
    return {
        "distance": estimate.value,
        "standard_error": estimate.standard_error,
        "interval": estimate.interval,
        "samples": len(samples),
        "reference": len(reference),
        "sampler": request.sampler,
        "steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "features": JUDGE.name,
    }


def pictures_like(found: data.Report, description: Description, request: Request) -> list[Picture]:
    """The request's seeds, with the model's classes in the proportions of the data, as near as they can be in every beginning of the list.

    The null class is left out; where the data knows none of the model's classes, they are all as frequent.
    """
    seeds = range(request.seed, request.seed + request.num_images)
    if not description.class_names:
        return [Picture(seed, None) for seed in seeds]
    counts = Counter(entry.class_name for entry in found.entries)
    sizes = np.array([counts[name] for name in description.class_names], float)
    shares = sizes / sizes.sum() if sizes.any() else np.full(len(sizes), 1 / len(sizes))
    drawn, pictures = np.zeros(len(shares)), []
    for i, seed in enumerate(seeds):
        missing = int(np.argmax(shares * (i + 1) - drawn))
        drawn[missing] += 1
        pictures.append(Picture(seed, missing))
    return pictures


def _read(path: Path) -> Tensor:
    with Image.open(path) as image:
        array = np.asarray(image)
    return torch.from_numpy(array.reshape(*array.shape[:2], -1).transpose(2, 0, 1).copy())
