"""Threads that read and decode files on all cores. Pillow and zlib let other threads run while they work."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from diffusion_demo.runtime.cpu_quota import cpu_quota

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_THREADS = 32
FILES_AT_ONCE = 1024  # `map` alone would hold all results of a large data set


def num_threads() -> int:
    """Return the number of cores that this process may use, at most MAX_THREADS."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, cpu_quota() or cores, MAX_THREADS)


def map_files(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield work(item) for each item in order. Raises the first exception of `work`."""
    with ThreadPoolExecutor(num_threads(), "files") as pool:
        for start in range(0, len(items), FILES_AT_ONCE):
            yield from pool.map(work, items[start : start + FILES_AT_ONCE])
