"""Load test of the public page: 30 concurrent visitors for 5 minutes.

    python -m benchmarks.crowd [--people 30] [--minutes 5]

Checks for failed jobs, long gaps between progress events, images of another visitor, and memory that is not freed.
"""

import argparse
import io
import random
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from diffusion_demo.ui.server.housekeeping import INTERVAL_SECONDS
from tests.browser.servers import ON_A_SPACE, Visitor, serving

SEEDS = range(40)
MAX_MEMORY_GROWTH = 1.10  # relative to the memory at the start


@dataclass
class Results:
    """Results of all visitors, guarded by one lock."""

    jobs: list[float] = field(default_factory=list)
    silences: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    wrong: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def fetch_pixels(visitor: Visitor, answer) -> bytes:
    """Return the pixels of all finished images, fetched like in a browser."""
    files = [item["image"]["path"] for item in answer.completed["output"]["data"][1]]
    return b"".join(
        np.asarray(Image.open(io.BytesIO(visitor.http.get(f"/gradio_api/file={path}").content))).tobytes()
        for path in files
    )


def longest_silence(visitor: Visitor, began: float) -> float:
    """Return the longest gap between events of the queue or the run, in seconds."""
    times = [began, *visitor.times]
    return max(later - earlier for earlier, later in pairwise(times))


def visit(url: str, number: int, expected: dict[int, bytes], end: float, results: Results) -> None:
    """Sample random seeds until `end` and record the results."""
    visitor, draw = Visitor(url, f"198.51.100.{number}"), random.Random(number)
    while time.monotonic() < end:
        seed, began = draw.choice(SEEDS), time.monotonic()
        try:
            answer = visitor.sample(images=1, steps=4, seed=seed)
            got = fetch_pixels(visitor, answer) if answer.succeeded else None
            problem = None if got else answer.error or answer.text[-200:]
        except Exception as error:
            got, problem = None, f"{type(error).__name__}: {error}"
        with results.lock:
            if problem:
                results.failures.append(problem)
            else:
                results.jobs.append(time.monotonic() - began)
                results.silences.append(longest_silence(visitor, began))
                results.wrong += got != expected[seed]


def memory(process: psutil.Process) -> float:
    """Return the resident memory of the server in MB."""
    return process.memory_info().rss / 1e6


def print_results(results: Results, options: argparse.Namespace) -> None:
    jobs, failed = len(results.jobs), len(results.failures)
    print(f"{jobs} jobs of {options.people} visitors in {options.minutes:g} minutes, {failed} failed")
    print(*sorted(set(results.failures))[:5], sep="\n")
    print(f"images of another seed: {results.wrong} of {jobs}")
    print(f"job duration: median {statistics.median(results.jobs):.1f} s, maximum {max(results.jobs):.1f} s")
    print(f"longest gap between progress events: {max(results.silences):.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=5)
    options = parser.parse_args()
    environment = ON_A_SPACE | {
        "DIFFUSION_DEMO_CALLS_A_MINUTE": "10000",
        "OMP_NUM_THREADS": str(psutil.cpu_count(logical=False)),
    }
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), environment) as server:
        process, alone = psutil.Process(server.process.pid), Visitor(server.url)
        expected = {seed: fetch_pixels(alone, alone.sample(images=1, steps=4, seed=seed)) for seed in SEEDS}
        assert len(set(expected.values())) == len(SEEDS)
        start, results, end = memory(process), Results(), time.monotonic() + 60 * options.minutes
        people = [
            threading.Thread(target=visit, args=(server.url, i + 1, expected, end, results))
            for i in range(options.people)
        ]
        for person in people:
            person.start()
        peak = start
        while any(person.is_alive() for person in people):
            time.sleep(1)
            peak = max(peak, memory(process))
        time.sleep(INTERVAL_SECONDS + 10)  # the server has run its housekeeping once by then
        last = memory(process)
        print_results(results, options)
        print(
            f"memory: {start:.0f} MB at the start, {peak:.0f} MB peak,"
            f" {last:.0f} MB after housekeeping ({last / start - 1:+.0%})"
        )
        print(f"threads: {process.num_threads()}, open files: {process.num_fds()}")
    return int(bool(results.failures or results.wrong) or last > MAX_MEMORY_GROWTH * start)


if __name__ == "__main__":
    raise SystemExit(main())
