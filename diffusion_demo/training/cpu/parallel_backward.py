"""A batch's gradient, with its rows on a core each where that is faster."""

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
    cuts: list[slice],
    seed: int,
    share: float = 1.0,
    backward: Callable[[Tensor], None] = Tensor.backward,
) -> Tensor:
    """Add a share of the gradient of the batch's weighted mean loss to the network's. Returns losses(network, batch), float32 [N, ...], as numbers.

    The first column is what is minimized. `cuts` (cores.slices) are the rows of each core, which are added up in their order: the same bits
    every time. In one cut `backward` does it.
    """

    def loss_of(number: int) -> tuple[Tensor, Tensor]:
        cut = Batch(*(tensor[cuts[number]] for tensor in batch))
        rows = losses(network, cut)
        return rows.detach(), share * (cut.weights * rows[:, 0]).sum() / len(batch.t)

    if len(cuts) == 1:
        with seeded(seed):
            rows, loss = loss_of(0)
            backward(loss)
        return rows

    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]

    def gradient_of(number: int) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        with seeded(derive_seed(seed, number)):
            rows, loss = loss_of(number)
            return rows, torch.autograd.grad(
                loss, weights, allow_unused=True
            )  # backward() of two threads at once is not safe

    done = parallel_map(gradient_of, range(len(cuts)))
    for _, gradient in done:
        for weight, part in zip(weights, gradient, strict=True):
            if part is not None:
                weight.grad = part if weight.grad is None else weight.grad.add_(part)
    return torch.cat([rows for rows, _ in done])
