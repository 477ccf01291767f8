"""Soak test: memory, threads, open files and temporary files over many generations and training runs in one server.

    python -m benchmarks.soak [--generations 500] [--trainings 20] [--plot benchmarks/soak.png]

Temporary files expire after two minutes here, so that the first ones are deleted before the end of the test.
"""

import argparse
import tempfile
import time
from pathlib import Path

import psutil
from PIL import Image, ImageDraw

from diffusion_demo.ui.server.temp_files import PREFIX
from tests.browser.servers import Visitor, serving

EVERY = 10
MEASURES = ("memory in MB", "threads", "open files", "temporary files", "temporary MB")
WIDTH, HEIGHT, LEFT = 900, 150, 70


def measure(process: psutil.Process, folder: Path) -> tuple[float, ...]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    return process.memory_info().rss / 1e6, process.num_threads(), process.num_fds(), len(files), size


def train(visitor: Visitor) -> None:
    """Start a run on the synthetic shapes, stop it after its first steps and delete it."""
    look, start = visitor.number_of("scan_synthetic"), visitor.number_of("start")
    assert visitor.call(look, visitor.initial_inputs(look)).succeeded
    data = visitor.initial_inputs(start)
    data[0], data[2], data[3] = "", "a new tiny network", "Quick try, 3 min"
    started = visitor.call(start, data, timeout=300)
    assert started.succeeded, started.text[-500:]
    name = started.completed["output"]["data"][0]["value"]
    follow(visitor, name, "Training")
    assert visitor.call(visitor.number_of("stop_run"), [name, ""]).succeeded
    follow(visitor, name, "Stopped")
    while not visitor.call(visitor.number_of("delete"), [name, ""]).succeeded:
        time.sleep(0.5)


def follow(visitor: Visitor, name: str, state: str) -> None:
    poll, end = visitor.number_of("poll"), time.monotonic() + 300
    while f">{state}<" not in visitor.call(poll, [name, [], "", None]).text:
        assert time.monotonic() < end, f"the run did not reach the state {state}"
        time.sleep(0.5)


def plot(rows: list[tuple[float, ...]], target: Path) -> None:
    sheet = Image.new("RGB", (WIDTH, HEIGHT * len(MEASURES)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, values) in enumerate(zip(MEASURES, zip(*rows, strict=True), strict=True)):
        top, low, high = number * HEIGHT + 25, 0, max(values) * 1.1 or 1
        draw.text(
            (LEFT, top - 20),
            f"{name}: first {values[0]:.0f}, last {values[-1]:.0f}, maximum {max(values):.0f}",
            "black",
        )
        draw.rectangle((LEFT, top, WIDTH - 10, top + HEIGHT - 40), outline="#cbd5e1")
        across, up = (WIDTH - 10 - LEFT) / max(1, len(values) - 1), (HEIGHT - 40) / (high - low)
        points = [(LEFT + i * across, top + HEIGHT - 40 - (value - low) * up) for i, value in enumerate(values)]
        draw.line(points, fill="#4f46e5", width=2)
    sheet.save(target)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=500)
    parser.add_argument("--trainings", type=int, default=20)
    parser.add_argument("--plot", type=Path, default=Path("benchmarks/soak.png"))
    options = parser.parse_args()
    cores = str(psutil.cpu_count(logical=False))
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(
            Path(folder), {"TMPDIR": folder, "DIFFUSION_DEMO_TEMPORARY_MINUTES": "2", "OMP_NUM_THREADS": cores}
        ) as server,
    ):
        process, visitor = psutil.Process(server.process.pid), Visitor(server.url)
        (temporary,) = Path(folder).glob(f"{PREFIX}{process.pid}_*")
        for seed in range(EVERY):
            assert visitor.sample(images=4, steps=4, seed=seed).succeeded
        rows = [measure(process, temporary)]
        trained = 0
        for i in range(1, options.generations + 1):
            assert visitor.sample(images=4, steps=4, seed=EVERY + i).succeeded
            if trained < options.trainings * i // options.generations:
                train(visitor)
                trained += 1
            if i % EVERY == 0:
                rows.append(measure(process, temporary))
        plot(rows, options.plot)
        print(f"{options.generations} generations and {trained} training runs; plot: {options.plot}")
        for name, values in zip(MEASURES, zip(*rows, strict=True), strict=True):
            first, middle, last = values[0], values[len(values) // 2], values[-1]
            print(f"{name}: first {first:.0f}, middle {middle:.0f}, last {last:.0f}, maximum {max(values):.0f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
