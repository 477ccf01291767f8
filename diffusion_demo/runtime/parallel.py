"""Rows of a batch on a core each: every core takes some rows through the whole network, instead of all cores sharing each of its operations.

In a small network on small images most operations are over before a second core has woken up for its half. On two cores sampling takes three
quarters of the time this way, and so does training (benchmarks).
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn

Part, Result = TypeVar("Part"), TypeVar("Result")

SMALL = 50_000_000  # weights; with more of them a core alone spends its time on fetching them
_one_at_a_time = threading.Lock()


def split_rows(rows: int, network: nn.Module) -> list[slice]:
    """How to cut so many rows for the cores, evenly: in one piece where there is no gain, as on a GPU, in few rows or in a large network."""
    cores = torch.get_num_threads()
    alone = rows < cores or network.device.type != "cpu" or sum(p.numel() for p in network.parameters()) > SMALL
    count = 1 if alone else cores
    return [slice(start, end) for start, end in pairwise(rows * i // count for i in range(count + 1))]


def parallel_map(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """work(part) of all parts at once, on a core each, and the results in the order of the parts.

    Raises what went wrong, once all have ended. Whether gradients are kept is for `work` to say: that of the caller does not count there.
    """
    if len(parts) == 1:
        return [work(parts[0])]
    with _one_at_a_time:
        pool = _pool(torch.get_num_threads())
    running = [pool.submit(work, part) for part in parts]
    wait(running)
    return [one.result() for one in running]


@lru_cache(maxsize=1)
def _pool(cores: int) -> ThreadPoolExecutor:
    """As many threads, in each of which torch works alone. In all others it works with so many, as before."""
    here = threading.Barrier(cores + 1)

    def begin() -> None:
        torch.get_num_threads()  # only after it was asked once does a thread keep what it is told
        torch.set_num_threads(1)
        here.wait()

    pool = ThreadPoolExecutor(cores, "core", begin)
    for _ in range(cores):
        pool.submit(lambda: None)
    here.wait()
    torch.set_num_threads(cores)  # what a thread is told is what later threads begin with
    return pool
