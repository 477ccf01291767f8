"""Prefetching changes when a batch is made, never what it holds."""

import threading

import pytest
import torch

from diffusion_demo.data import ImageTensors
from diffusion_demo.training.batches import Batch, make_batch
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.prefetch import AHEAD, Prefetcher


@pytest.fixture
def make():
    config = TrainConfig(data="unused", batch_size=8)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 3, 16, 16), generator=generator, dtype=torch.uint8)
    dataset = ImageTensors(images, torch.arange(20) % 3)
    return lambda step: make_batch(config, dataset, 3, 1000, step)


def test_prefetched_batches_are_those_of_their_steps_whatever_the_order_of_the_threads(make):
    prefetcher = Prefetcher(make)
    for step in [*range(1, 8), 20, 21, 5]:  # a jump forth and one back
        prefetched, made = prefetcher.get(step), make(step)
        assert all(torch.equal(getattr(prefetched, name), getattr(made, name)) for name in Batch._fields), step


def test_batches_of_later_steps_are_made_in_other_threads_and_none_is_made_twice(make):
    made: list[tuple[int, int]] = []

    def recorded(step: int) -> Batch:
        made.append((step, threading.get_ident()))
        return make(step)

    prefetcher = Prefetcher(recorded)
    for step in range(1, 6):
        prefetcher.get(step)
    prefetcher._pool.shutdown()
    assert sorted(step for step, _ in made) == list(range(1, 6 + AHEAD))
    assert threading.get_ident() not in {thread for _, thread in made}


def test_an_error_in_a_batch_is_raised_at_its_step():
    def failing(step: int) -> Batch:
        raise MemoryError(f"step {step}")

    with pytest.raises(MemoryError, match="step 3"):
        Prefetcher(failing).get(3)
