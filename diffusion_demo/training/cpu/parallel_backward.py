"""Gradient of a batch, computed on several cores, each with some of the rows."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from diffusion_demo.runtime.parallel import parallel_results, split_rows
from diffusion_demo.training.batches import Batch, derive_seed
from diffusion_demo.training.cpu.seeded_dropout import seeded

MIN_ROWS = 2  # of a core; for fewer, adding the gradients takes longer than computing them
MAX_GRADIENT_BYTES = 500_000_000  # of all cores together, since each computes a whole gradient


def training_slices(rows: int, network: nn.Module) -> list[slice]:
    """Return the rows of each core in training; a single slice on a GPU or for a large network."""
    gradient_bytes = sum(p.numel() * p.element_size() for p in network.parameters())
    return split_rows(rows, network, MIN_ROWS, max(1, MAX_GRADIENT_BYTES // gradient_bytes))


def accumulate_gradient(
    network: nn.Module,
    losses: Callable[[nn.Module, Batch], Tensor],
    batch: Batch,
    slices: list[slice],
    seed: int,
    share: float = 1.0,
    backward: Callable[[Tensor], None] = Tensor.backward,
) -> Tensor:
    """Accumulate `share` times the gradient of the weighted mean loss into `.grad`; return detached per-example losses.

    losses    returns float32 [N, ...], as does this function; the first column is minimized
    slices    rows of each core (training_slices); their gradients are added in this order, each as soon as it is its
              turn, so the result is bit-exact
    seed      seed of dropout and of other random numbers in the network
    backward  computes the gradient if there is only one slice
    """

    def losses_of(index: int) -> tuple[Tensor, Tensor]:
        part = Batch(*(tensor[slices[index]] for tensor in batch))
        rows = losses(network, part)
        return rows.detach(), share * (part.weights * rows[:, 0]).sum() / len(batch.t)

    if len(slices) == 1:
        with seeded(seed):
            rows, loss = losses_of(0)
            backward(loss)
        return rows

    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]

    def gradient_of(index: int) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        with seeded(derive_seed(seed, index)):
            rows, loss = losses_of(index)
            # Unlike backward(), torch.autograd.grad() is safe in several threads at once.
            return rows, torch.autograd.grad(loss, weights, allow_unused=True)

    # map drops each gradient before it waits for the next one.
    return torch.cat([*map(partial(_add_gradient, weights), parallel_results(gradient_of, range(len(slices))))])


def _add_gradient(weights: list[nn.Parameter], result: tuple[Tensor, tuple[Tensor | None, ...]]) -> Tensor:
    """Add the gradient of a core to `.grad` and return its losses."""
    rows, gradients = result
    for weight, gradient in zip(weights, gradients, strict=True):
        if gradient is not None:
            weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
    return rows
