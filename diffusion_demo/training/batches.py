"""Training batches: images, augmentation, label dropout, timesteps and noise of step n.

All random numbers of a global batch are derived from (seed, n), so that a resumed run and a run on several processes
draw the same batches.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion_demo.data import ImageTensors
from diffusion_demo.diffusion.timesteps import LossAwareTimesteps, stratified_timesteps, uniform_timesteps
from diffusion_demo.images import to_float
from diffusion_demo.training.config import TrainConfig

HELD_OUT_REPEATS, MAX_HELD_OUT = 4, 512  # so that a held-out measure takes seconds for any number of images


class Batch(NamedTuple):
    """A training batch.

    x0, eps  float32 [N, C, S, S]: images in [-1, 1] and noise
    labels   int64 [N]
    t        int64 [N]
    weights  float32 [N]: importance weights of the losses, which correct for the distribution of t
    """

    x0: Tensor
    labels: Tensor
    t: Tensor
    weights: Tensor
    eps: Tensor


def derive_seed(seed: int, *numbers: int) -> int:
    """Return a seed for torch that is derived from `seed` and `numbers`."""
    for number in numbers:
        seed = (seed * 6364136223846793005 + number * 1442695040888963407 + 1) % 2**63
    return seed


@lru_cache(maxsize=2)  # a batch spans two epochs at most where the dataset is large
def _permutation(seed: int, epoch: int, count: int) -> Tensor:
    """Return the order of the images in an epoch, int64 [count]."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(derive_seed(seed, 0, epoch)))


def sample_indices(config: TrainConfig, step: int, count: int) -> Tensor:
    """Return the indices of the images of step n, counted from 1, among `count` images: int64 [batch_size].

    A batch may span epochs, so that it may also be larger than the dataset.
    """
    positions = torch.arange((step - 1) * config.batch_size, step * config.batch_size)
    epochs, offsets = positions // count, positions % count
    indices = torch.empty_like(positions)
    for epoch in epochs.unique().tolist():
        in_epoch = epochs == epoch
        indices[in_epoch] = _permutation(config.seed, epoch, count)[offsets[in_epoch]]
    return indices


@lru_cache(maxsize=1)  # by the identity of the tensor
def _balanced(labels: Tensor) -> Tensor:
    """Return indices of images in which every class occurs as often as the largest one, int64 [M].

    Images of smaller classes are repeated; within a class, the numbers of repetitions differ by at most one.
    """
    groups: dict[int, list[int]] = {}
    for i, label in enumerate(labels.tolist()):
        groups.setdefault(label, []).append(i)
    most = max(map(len, groups.values()))
    return torch.tensor([group[i % len(group)] for group in groups.values() for i in range(most)])


def batch_indices(config: TrainConfig, step: int, labels: Tensor) -> Tensor:
    """Return the indices of the images of step n among those with these labels: int64 [batch_size]."""
    if not config.balance_classes:
        return sample_indices(config, step, len(labels))
    balanced = _balanced(labels)
    return balanced[sample_indices(config, step, len(balanced))]


def make_batch(
    config: TrainConfig,
    dataset: ImageTensors,
    null_class: int | None,
    num_timesteps: int,
    step: int,
    loss_aware: LossAwareTimesteps | None = None,
) -> Batch:
    """Return the global batch of step n, counted from 1, on the CPU.

    Labels are replaced by `null_class` at the rate of label dropout; None turns that off. `loss_aware` draws t if it is
    given, else the timestep sampler of the config does.
    """
    generator = torch.Generator().manual_seed(derive_seed(config.seed, 1, step))
    indices = batch_indices(config, step, dataset.labels)
    x0, labels = to_float(dataset.images[indices]), dataset.labels[indices]
    if config.flip:
        flipped = torch.rand(len(x0), generator=generator) < 0.5
        x0[flipped] = x0[flipped].flip(3)
    if config.task == "classifier":
        x0 = random_crop(x0, generator)
    if null_class is not None:
        labels = labels.masked_fill(torch.rand(len(x0), generator=generator) < config.label_dropout, null_class)
    if loss_aware:
        t, weights = loss_aware.draw(len(x0), generator)
    else:
        draw = uniform_timesteps if config.timestep_sampler == "uniform" else stratified_timesteps
        t, weights = draw(len(x0), num_timesteps, generator), torch.ones(len(x0))
    return Batch(x0, labels, t, weights, torch.randn(x0.shape, generator=generator))


def random_crop(x0: Tensor, generator: torch.Generator) -> Tensor:
    """Return random square crops of images [N, C, S, S], resized to S, as the classifiers of ADM's code are trained.

    The side of a crop is uniform between 0.8 S and S.
    """
    count = len(x0)
    scale = 0.8 + 0.2 * torch.rand(count, generator=generator)
    shift = (1 - scale).unsqueeze(1) * (2 * torch.rand(count, 2, generator=generator) - 1)
    theta = torch.cat([torch.diag_embed(scale.unsqueeze(1).expand(-1, 2)), shift.unsqueeze(2)], dim=2)
    grid = F.affine_grid(theta, list(x0.shape), align_corners=False)
    return F.grid_sample(x0, grid, align_corners=False, padding_mode="border")


def held_out_batches(dataset: ImageTensors, num_timesteps: int, size: int) -> Iterator[Batch]:
    """Yield batches of up to `size` held-out images, with the same images, t and noise each time.

    Each image is repeated HELD_OUT_REPEATS times. Of many images, max(MAX_HELD_OUT, size) are used in total.
    """
    generator = torch.Generator().manual_seed(derive_seed(0, 2))
    count = min(HELD_OUT_REPEATS * len(dataset), max(MAX_HELD_OUT, size))
    positions = torch.arange(count)
    indices = positions % len(dataset) if count > len(dataset) else positions * len(dataset) // count
    images, labels = dataset.images[indices], dataset.labels[indices]
    t = stratified_timesteps(len(images), num_timesteps, generator)
    eps = torch.randn(images.shape, generator=generator)
    for i in range(0, len(images), size):
        part = slice(i, i + size)
        yield Batch(to_float(images[part]), labels[part], t[part], torch.ones(len(t[part])), eps[part])
