"""Training batches made in background threads while the GPU works on earlier ones."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from diffusion_demo.training.batches import Batch

AHEAD = 3  # batches, each in its own thread: drawing the noise of one takes about as long as a step on a fast GPU


class Prefetcher:
    """Batches of consecutive steps, each made by `make_batch(step)` before it is needed, in pinned memory.

    The batches are the same as without it, because a batch depends on nothing but its step.
    """

    def __init__(self, make_batch: Callable[[int], Batch]):
        self._make_batch = make_batch
        self._pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="prefetch")
        self._pending: dict[int, Future[Batch]] = {}

    def get(self, step: int) -> Batch:
        """Return the batch of a step and start to make those of the next steps. Raises what `make_batch` raises."""
        for number in range(step, step + 1 + AHEAD):
            if number not in self._pending:
                self._pending[number] = self._pool.submit(self._make_pinned, number)
        batch = self._pending.pop(step).result()
        self._pending = {number: future for number, future in self._pending.items() if number > step}
        return batch

    def close(self) -> None:
        """Drop the batches made ahead and end the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pending.clear()

    def _make_pinned(self, step: int) -> Batch:
        batch = self._make_batch(step)
        if not torch.cuda.is_available():
            return batch
        pinned = {name: getattr(batch, name).pin_memory() for name in ("x0", "labels", "weights", "eps")}
        return batch._replace(**pinned)
