"""Thirty people at once on a public page for five minutes: does any fail, wait unseen, or get another's images; does the memory come back?

python -m benchmarks.crowd [--people 30] [--minutes 5]
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

from diffusion_demo.ui.server.housekeeping import EVERY_SECONDS
from tests.browser.servers import ON_A_SPACE, Visitor, serving

SEEDS = range(40)
ROOM = 1.10  # of the memory at the start


@dataclass
class Seen:
    """What all visitors met, written by each under one lock."""

    jobs: list[float] = field(default_factory=list)
    unseen: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    wrong: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def specs(visitor: Visitor, answer) -> bytes:
    """The pixels of all finished images, fetched as a browser would."""
    files = [item["image"]["path"] for item in answer.completed["output"]["data"][1]]
    return b"".join(
        np.asarray(Image.open(io.BytesIO(visitor.http.get(f"/gradio_api/file={path}").content))).tobytes()
        for path in files
    )


def longest_silence(visitor: Visitor, began: float) -> float:
    """The longest time without any word from the queue or the run, in seconds."""
    times = [began, *visitor.times]
    return max(later - earlier for earlier, later in pairwise(times))


def visit(url: str, number: int, expected: dict[int, bytes], end: float, seen: Seen) -> None:
    visitor, draw = Visitor(url, f"198.51.100.{number}"), random.Random(number)
    while time.monotonic() < end:
        seed, began = draw.choice(SEEDS), time.monotonic()
        try:
            answer = visitor.sample(images=1, steps=4, seed=seed)
            got = specs(visitor, answer) if answer.succeeded else None
            problem = None if got else answer.error or answer.text[-200:]
        except Exception as error:
            got, problem = None, f"{type(error).__name__}: {error}"
        with seen.lock:
            if problem:
                seen.failures.append(problem)
            else:
                seen.jobs.append(time.monotonic() - began)
                seen.unseen.append(longest_silence(visitor, began))
                seen.wrong += got != expected[seed]


def memory(process: psutil.Process) -> float:
    """Megabytes that the server holds."""
    return process.memory_info().rss / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=5)
    asked = parser.parse_args()
    environment = ON_A_SPACE | {
        "DIFFUSION_DEMO_CALLS_A_MINUTE": "10000",
        "OMP_NUM_THREADS": str(psutil.cpu_count(logical=False)),
    }
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), environment) as server:
        process, alone = psutil.Process(server.process.pid), Visitor(server.url)
        expected = {seed: specs(alone, alone.sample(images=1, steps=4, seed=seed)) for seed in SEEDS}
        assert len(set(expected.values())) == len(SEEDS)
        start, seen, end = memory(process), Seen(), time.monotonic() + 60 * asked.minutes
        people = [
            threading.Thread(target=visit, args=(server.url, i + 1, expected, end, seen)) for i in range(asked.people)
        ]
        for person in people:
            person.start()
        peak = start
        while any(person.is_alive() for person in people):
            time.sleep(1)
            peak = max(peak, memory(process))
        time.sleep(EVERY_SECONDS + 10)  # by then the server has swept once
        last = memory(process)
        print(
            f"{len(seen.jobs)} jobs of {asked.people} people in {asked.minutes:g} minutes, {len(seen.failures)} failed"
        )
        print(*sorted(set(seen.failures))[:5], sep="\n")
        print(f"images that were another seed's: {seen.wrong} of {len(seen.jobs)}")
        print(f"a job took {statistics.median(seen.jobs):.1f} s in the median, {max(seen.jobs):.1f} s at most")
        print(f"longest time without a word of where one stands: {max(seen.unseen):.1f} s")
        print(
            f"memory: {start:.0f} MB at the start, {peak:.0f} at most, {last:.0f} after the next sweep ({last / start - 1:+.0%})"
        )
        print(f"threads: {process.num_threads()}, open files: {process.num_fds()}")
    return int(bool(seen.failures or seen.wrong) or last > ROOM * start)


if __name__ == "__main__":
    raise SystemExit(main())
