"""Chance inside a step of training: drawn from the step's seed and for whom it is drawn, whichever thread comes first."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from diffusion_demo.training.batches import derive_seed

_seed: ContextVar[int] = ContextVar("seed")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What this thread draws from a generator of ours meanwhile comes from this seed."""
    token = _seed.set(seed)
    try:
        yield
    finally:
        _seed.reset(token)


def generator(number: int) -> torch.Generator:
    """A CPU generator that begins anew for every (seed, number), so that what is computed once more is drawn once more."""
    return torch.Generator().manual_seed(derive_seed(_seed.get(), number))


class SeededDropout(nn.Dropout):
    """nn.Dropout whose mask depends on the seed and its own number alone."""

    def __init__(self, p: float, number: int):
        super().__init__(p)
        self.number = number

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        kept = torch.empty_like(x).bernoulli_(1 - self.p, generator=generator(self.number))
        return x * kept.div_(1 - self.p)


def use_seeded_dropout(network: nn.Module) -> None:
    """Make every dropout of a network on the CPU a seeded one."""
    places = [
        (module, name, child)
        for module in network.modules()
        for name, child in module.named_children()
        if type(child) is nn.Dropout
    ]
    for number, (module, name, child) in enumerate(places):
        setattr(module, name, SeededDropout(child.p, number).train(child.training))
