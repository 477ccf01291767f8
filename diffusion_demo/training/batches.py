"""The batch of step n: which images, flipped or not, labeled or not, at which t, with which noise.

Everything comes from (seed, n) for the global batch, so that a resumed run and a run on several processes draw the same.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion_demo.data import ImageTensors
from diffusion_demo.diffusion.timesteps import LossAwareTimesteps, stratified_timesteps, uniform_timesteps
from diffusion_demo.images import to_float
from diffusion_demo.training.config import TrainConfig

HELD_OUT_REPEATS, MAX_HELD_OUT = 4, 512


class Batch(NamedTuple):
    """x0 and eps float32 [N, C, S, S], labels and t int64 [N]; weights float32 [N] of their losses, which make up for how t was drawn."""

    x0: Tensor
    labels: Tensor
    t: Tensor
    weights: Tensor
    eps: Tensor


def derive_seed(seed: int, *numbers: int) -> int:
    """A seed for torch that differs for every (seed, numbers)."""
    for number in numbers:
        seed = (seed * 6364136223846793005 + number * 1442695040888963407 + 1) % 2**63
    return seed


def order(seed: int, epoch: int, count: int) -> Tensor:
    """The order of the images in an epoch: int64 [count]."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(derive_seed(seed, 0, epoch)))


def sample_indices(config: TrainConfig, step: int, count: int) -> Tensor:
    """Which of `count` images step n (from 1) sees: int64 [batch_size]. Epochs follow each other without a gap, so any folder fills a batch."""
    positions = torch.arange((step - 1) * config.batch_size, step * config.batch_size)
    epochs, places = positions // count, positions % count
    chosen = torch.empty_like(positions)
    for epoch in epochs.unique().tolist():
        here = epochs == epoch
        chosen[here] = order(config.seed, epoch, count)[places[here]]
    return chosen


def make_batch(
    config: TrainConfig,
    dataset: ImageTensors,
    null_class: int | None,
    num_timesteps: int,
    step: int,
    loss_aware: LossAwareTimesteps | None = None,
) -> Batch:
    """The whole batch of step n, on the CPU; `loss_aware` draws its t where the config says so."""
    generator = torch.Generator().manual_seed(derive_seed(config.seed, 1, step))
    chosen = sample_indices(config, step, len(dataset))
    x0, labels = to_float(dataset.images[chosen]), dataset.labels[chosen]
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
    """Of each image [N, C, S, S] a square of 0.8 to all of its side, somewhere, at the image's size: as ADM's code trains classifiers."""
    count = len(x0)
    share = 0.8 + 0.2 * torch.rand(count, generator=generator)
    shift = (1 - share).unsqueeze(1) * (2 * torch.rand(count, 2, generator=generator) - 1)
    places = torch.cat([torch.diag_embed(share.unsqueeze(1).expand(-1, 2)), shift.unsqueeze(2)], dim=2)
    return F.grid_sample(
        x0, F.affine_grid(places, list(x0.shape), align_corners=False), align_corners=False, padding_mode="border"
    )


def held_out_batches(dataset: ImageTensors, num_timesteps: int, size: int):
    """The held-out images, a few times each or some of them once, at t and noise that never change: seconds of work however many there are."""
    generator = torch.Generator().manual_seed(derive_seed(0, 2))
    count = min(HELD_OUT_REPEATS * len(dataset), max(MAX_HELD_OUT, size))
    chosen = torch.arange(count) % len(dataset) if count > len(dataset) else torch.arange(count) * len(dataset) // count
    images, labels = dataset.images[chosen], dataset.labels[chosen]
    t = stratified_timesteps(len(images), num_timesteps, generator)
    eps = torch.randn(images.shape, generator=generator)
    for i in range(0, len(images), size):
        part = slice(i, i + size)
        yield Batch(to_float(images[part]), labels[part], t[part], torch.ones(len(t[part])), eps[part])
