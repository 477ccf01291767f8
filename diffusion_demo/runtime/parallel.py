"""Data parallelism over CPU cores: each core runs the whole network on some rows of the batch.

For small networks and images, most operations are too short to be split over several cores. On two cores, sampling and
training take three quarters of the time with this scheme (benchmarks).
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar, cast

import torch
from torch import nn

Part = TypeVar("Part")
Result = TypeVar("Result")

MAX_PARAMETERS = 50_000_000  # beyond this, a single core is limited by the memory bandwidth for the weights
_pool_lock = threading.Lock()
_thread = threading.local()


@lru_cache(maxsize=1)
def initial_num_threads() -> int:
    """Return the number of torch's threads before the pool changed it."""
    return torch.get_num_threads()


def split_rows(rows: int, network: nn.Module, min_rows: int = 1, max_parts: int | None = None) -> list[slice]:
    """Split the rows of a batch evenly over the CPU cores, into parts of at least `min_rows` and at most `max_parts`.

    Returns a single slice where splitting is not faster: on a GPU, or for a large network. `network` must have an
    attribute `device`.
    """
    device = cast(torch.device, network.device)
    is_large = sum(p.numel() for p in network.parameters()) > MAX_PARAMETERS
    count = (
        1
        if device.type != "cpu" or is_large
        else max(1, min(initial_num_threads(), rows // min_rows, max_parts or rows))
    )
    return [slice(start, end) for start, end in pairwise(rows * i // count for i in range(count + 1))]


def parallel_map(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """Return [work(part) for part in parts], with each part on its own core.

    Raises the first exception of `work`, after all parts have ended. Grad mode is per thread, so `work` must set it.
    """
    return list(parallel_results(work, parts))


def parallel_results(work: Callable[[Part], Result], parts: Sequence[Part]) -> Generator[Result, None, None]:
    """Yield work(part) for each part in order, as soon as it is ready, with each part on its own core.

    A result that the caller has dropped is not kept. Raises as `parallel_map` does.
    """
    start_pool()
    if len(parts) == 1:
        yield work(parts[0])
        return
    with _pool_lock:
        pool = _thread_pool(initial_num_threads())
    futures = deque(pool.submit(work, part) for part in parts)
    try:
        while futures:
            yield futures.popleft().result()
    finally:
        wait(futures)


def start_pool() -> None:
    """Start the threads. A thread that first uses torch meanwhile would keep one core, so call it early.

    Any other thread gets all cores back with its next call.
    """
    with _pool_lock:
        if initial_num_threads() > 1:
            _thread_pool(initial_num_threads())
    if not getattr(_thread, "is_in_pool", False) and torch.get_num_threads() != initial_num_threads():
        torch.set_num_threads(initial_num_threads())


@lru_cache(maxsize=1)
def _thread_pool(cores: int) -> ThreadPoolExecutor:
    """Return a pool of `cores` threads in which torch uses one thread each. Other threads keep `cores` of them."""
    started = threading.Barrier(cores + 1)

    def initialize() -> None:
        torch.get_num_threads()  # torch ignores set_num_threads in a thread before the first get_num_threads
        torch.set_num_threads(1)
        _thread.is_in_pool = True
        started.wait()

    pool = ThreadPoolExecutor(cores, "core", initialize)
    for _ in range(cores):
        pool.submit(lambda: None)
    started.wait()
    torch.set_num_threads(cores)  # the last call in any thread sets the default of new threads
    return pool


def _forget_pool() -> None:
    """Forget the pool in a forked process, which has none of its threads, and a lock that one of them may have held."""
    global _pool_lock
    _pool_lock = threading.Lock()
    _thread_pool.cache_clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_forget_pool)
