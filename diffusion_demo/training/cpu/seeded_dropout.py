"""Deterministic randomness inside a training step, independent of thread order."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from diffusion_demo.training.batches import derive_seed

_seed: ContextVar[int] = ContextVar("seed")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Set the seed of `generator` for this thread within the context."""
    token = _seed.set(seed)
    try:
        yield
    finally:
        _seed.reset(token)


def generator(number: int) -> torch.Generator:
    """Return a new CPU generator for the seed of `seeded` and `number`.

    Gradient checkpointing draws the same numbers when it recomputes, because each call starts from the seed.
    """
    return torch.Generator().manual_seed(derive_seed(_seed.get(), number))


class SeededDropout(nn.Dropout):
    """nn.Dropout whose mask depends only on the seed of `seeded` and on `number`."""

    def __init__(self, p: float, number: int):
        super().__init__(p)
        self.number = number

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        mask = torch.empty_like(x).bernoulli_(1 - self.p, generator=generator(self.number))
        return x * mask.div_(1 - self.p)


def use_seeded_dropout(network: nn.Module) -> None:
    """Replace each nn.Dropout of a network on the CPU by a SeededDropout, in place."""
    dropouts = [
        (module, name, child)
        for module in network.modules()
        for name, child in module.named_children()
        if type(child) is nn.Dropout
    ]
    for number, (module, name, child) in enumerate(dropouts):
        setattr(module, name, SeededDropout(child.p, number).train(child.training))
