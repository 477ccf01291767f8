"""Data parallelism over CPU cores: each core runs the whole network on some rows of the batch.

For small networks and images, most operations are too short to be split over several cores. On two cores, sampling and
training take three quarters of the time with this scheme (benchmarks).
"""

import threading
from collections.abc import Callable, Sequence
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


def split_rows(rows: int, network: nn.Module) -> list[slice]:
    """Split the rows of a batch evenly over the CPU cores.

    Returns a single slice where splitting is not faster: on a GPU, for fewer rows than cores, or for a large network.
    `network` must have an attribute `device`.
    """
    cores = torch.get_num_threads()
    device = cast(torch.device, network.device)
    is_large = sum(p.numel() for p in network.parameters()) > MAX_PARAMETERS
    count = 1 if rows < cores or device.type != "cpu" or is_large else cores
    return [slice(start, end) for start, end in pairwise(rows * i // count for i in range(count + 1))]


def parallel_map(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """Return [work(part) for part in parts], with each part on its own core.

    Raises the first exception of `work`, after all parts have ended. Grad mode is per thread, so `work` must set it.
    """
    if len(parts) == 1:
        return [work(parts[0])]
    with _pool_lock:
        pool = _thread_pool(torch.get_num_threads())
    futures = [pool.submit(work, part) for part in parts]
    wait(futures)
    return [future.result() for future in futures]


@lru_cache(maxsize=1)
def _thread_pool(cores: int) -> ThreadPoolExecutor:
    """Return a pool of `cores` threads in which torch uses one thread each. Other threads keep `cores` of them."""
    started = threading.Barrier(cores + 1)

    def initialize() -> None:
        torch.get_num_threads()  # torch ignores set_num_threads in a thread before the first get_num_threads
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(cores, "core", initialize)
    for _ in range(cores):
        pool.submit(lambda: None)
    started.wait()
    torch.set_num_threads(cores)  # the last call in any thread sets the default of new threads
    return pool
