"""Gradient of a batch, computed on several cores, each with some of the rows."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from diffusion_demo.runtime.parallel import parallel_map
from diffusion_demo.training.batches import Batch, derive_seed
from diffusion_demo.training.cpu.seeded_dropout import seeded


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
    slices    rows of each core (split_rows); their gradients are added in this order, so the result is bit-exact
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

    results = parallel_map(gradient_of, range(len(slices)))
    for _, gradients in results:
        _add_gradients(weights, gradients)
    return torch.cat([rows for rows, _ in results])


def _add_gradients(weights: list[nn.Parameter], gradients: tuple[Tensor | None, ...]) -> None:
    for weight, gradient in zip(weights, gradients, strict=True):
        if gradient is not None:
            weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
