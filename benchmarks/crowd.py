"""Load test of the public page: 30 concurrent visitors for 5 minutes.

    python -m benchmarks.crowd [--people 30] [--minutes 5] [--leavers 0.2] [--hostile]

Checks for failed jobs, long gaps between progress events, images of another visitor, and memory that is not freed. Some
visitors leave in the middle of a job. With --hostile, the test is repeated beside a visitor who attacks continuously;
the median of the others may at most double.
"""

import argparse
import io
import itertools
import random
import statistics
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image

from diffusion_demo.ui.server.housekeeping import INTERVAL_SECONDS
from tests.browser.servers import ON_A_SPACE, Server, Visitor, serving
from tests.browser.sweep import attacks

SEEDS = range(40)
MAX_MEMORY_GROWTH = 1.10  # relative to the memory at the start


@dataclass
class Results:
    """Results of all visitors, guarded by one lock."""

    jobs: list[float] = field(default_factory=list)
    silences: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    wrong: int = 0
    left: int = 0
    attacks: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def fetch_pixels(visitor: Visitor, answer) -> bytes:
    """Return the pixels of all finished images, fetched as in a browser."""
    files = [item["image"]["path"] for item in answer.completed["output"]["data"][1]]
    return b"".join(
        np.asarray(Image.open(io.BytesIO(visitor.http.get(f"/gradio_api/file={path}").content))).tobytes()
        for path in files
    )


def longest_silence(visitor: Visitor, began: float) -> float:
    """Return the longest gap between events of the queue or the run, in seconds."""
    times = [began, *visitor.times]
    return max(later - earlier for earlier, later in pairwise(times))


def visit(url: str, number: int, expected: dict[int, bytes], end: float, results: Results, leavers: float) -> None:
    """Sample random seeds until `end` and record the results. Leave in the middle of a share of the jobs."""
    visitor, draw = Visitor(url, f"8.8.{number}.1"), random.Random(number)
    while time.monotonic() < end:
        seed, began = draw.choice(SEEDS), time.monotonic()
        try:
            if draw.random() < leavers:
                leave_early(visitor, draw.uniform(0.05, 1))
                with results.lock:
                    results.left += 1
                continue
            answer = visitor.sample(images=1, steps=4, seed=seed, timeout=600)
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


def leave_early(visitor: Visitor, seconds: float) -> None:
    """Start a job, listen for some seconds, and close the connection."""
    number = visitor.number_of("sample")
    body = {"data": visitor.initial_inputs(number), "fn_index": number, "session_hash": visitor.session}
    visitor.http.post("/gradio_api/queue/join", json=body)
    end = time.monotonic() + seconds
    with visitor.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": visitor.session}) as stream:
        for _ in stream.iter_lines():
            if time.monotonic() > end:
                break
    visitor.session = uuid.uuid4().hex


def attack(url: str, end: float, results: Results) -> None:
    """Attack from one address until `end`: calls that nobody listens to, large images, and requests of the sweep."""
    requests = list(attacks(["/etc/passwd"]))
    buffer = io.BytesIO()
    Image.new("RGB", (7000, 7000)).save(buffer, "PNG")
    for i in itertools.count():
        if time.monotonic() > end:
            return
        with suppress(httpx.HTTPError, KeyError, ValueError):
            visitor = Visitor(url, "9.9.9.9")  # with a new cookie each time
            number, inspect = visitor.number_of("sample"), visitor.number_of("inspect")
            body = {"data": visitor.initial_inputs(number), "fn_index": number}
            for _ in range(20):
                visitor.http.post("/gradio_api/queue/join", json=body | {"session_hash": uuid.uuid4().hex})
            path = visitor.http.post("/gradio_api/upload", files={"files": ("a.png", buffer.getvalue())}).json()[0]
            image = {"path": path, "meta": {"_type": "gradio.FileData"}}
            body = {"data": [image, None, None], "fn_index": inspect, "session_hash": visitor.session}
            visitor.http.post("/gradio_api/queue/join", json=body)
            requests[i % len(requests)].send(url)
            results.attacks += 24


def memory(process: psutil.Process) -> float:
    """Return the resident memory of the server in MB."""
    return process.memory_info().rss / 1e6


def print_results(results: Results, options: argparse.Namespace) -> None:
    jobs, failed = len(results.jobs), len(results.failures)
    print(f"{jobs} jobs of {options.people} visitors in {options.minutes:g} minutes, {failed} failed")
    print(f"left in the middle of a job: {results.left}; requests of the attacker: {results.attacks}")
    print(*sorted(set(results.failures))[:5], sep="\n")
    print(f"images of another seed: {results.wrong} of {jobs}")
    print(f"job duration: median {statistics.median(results.jobs):.1f} s, maximum {max(results.jobs):.1f} s")
    print(f"longest gap between progress events: {max(results.silences):.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--leavers", type=float, default=0.2)
    parser.add_argument("--hostile", action="store_true")
    options = parser.parse_args()
    environment = ON_A_SPACE | {
        "DIFFUSION_DEMO_QUEUE": str(2 * options.people),
        "OMP_NUM_THREADS": str(psutil.cpu_count(logical=False)),
    }
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), environment) as server:
        process, alone = psutil.Process(server.process.pid), Visitor(server.url)
        answers = {seed: alone.sample(images=1, steps=4, seed=seed, timeout=600) for seed in SEEDS}
        expected = {seed: fetch_pixels(alone, answer) for seed, answer in answers.items()}
        assert len(set(expected.values())) == len(SEEDS)
        start = memory(process)
        phases = [
            spend(server, expected, options, hostile) for hostile in ([False, True] if options.hostile else [False])
        ]
        peak = max(peak for _, peak in phases)
        time.sleep(INTERVAL_SECONDS + 10)  # the server has run its housekeeping once by then
        last, waiting = memory(process), alone.http.get("/gradio_api/queue/status").text
        print(f"queue afterwards: {waiting}")
        print(
            f"memory: {start:.0f} MB at the start, {peak:.0f} MB peak,"
            f" {last:.0f} MB after housekeeping ({last / start - 1:+.0%})"
        )
        print(f"threads: {process.num_threads()}, open files: {process.num_fds()}")
    medians = [statistics.median(results.jobs) for results, _ in phases]
    failed = any(results.failures or results.wrong for results, _ in phases)
    return int(failed or last > MAX_MEMORY_GROWTH * start or medians[-1] > 2 * medians[0])


def spend(
    server: Server, expected: dict[int, bytes], options: argparse.Namespace, hostile: bool
) -> tuple[Results, float]:
    """Simulate all visitors for the given time, print the results, and return them with the peak memory."""
    process, results = psutil.Process(server.process.pid), Results()
    end, peak = time.monotonic() + 60 * options.minutes, memory(process)
    people = [
        threading.Thread(target=visit, args=(server.url, i + 1, expected, end, results, options.leavers))
        for i in range(options.people)
    ]
    people += [threading.Thread(target=attack, args=(server.url, end, results))] if hostile else []
    for person in people:
        person.start()
    while any(person.is_alive() for person in people):
        time.sleep(1)
        peak = max(peak, memory(process))
    print("with an attacker" if hostile else "without an attacker")
    print_results(results, options)
    return results, peak


if __name__ == "__main__":
    raise SystemExit(main())
