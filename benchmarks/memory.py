"""Peak memory of `sample` by number of images and steps, each call in its own process."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measuring import BUNDLED, Row
from benchmarks.page_start import ROOT

# A process inherits the peak memory of its parent, so a small process in between measures its only child.
LAUNCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(peak if sys.platform == "darwin" else 1024 * peak)
"""
IMAGES, FEW_STEPS = (16, 64, 256, 1000), 2
STEPS, ONE_IMAGE = (10, 100, 1000), 1


def peak_bytes(images: int, steps: int) -> int:
    """Return the peak memory of a call that samples this many images and steps."""
    with tempfile.TemporaryDirectory() as out:
        options = [
            "--num-images",
            str(images),
            "--steps",
            str(steps),
            "--sampler",
            "ddim",
            "--out",
            str(Path(out) / "images"),
        ]
        line = [
            sys.executable,
            "-c",
            LAUNCHER,
            sys.executable,
            "-m",
            "diffusion_demo",
            "sample",
            "--checkpoint",
            str(BUNDLED),
            *options,
        ]
        return int(subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def rows(rounds: int) -> Iterator[Row]:
    """Yield one row per call; rounds are ignored, because memory does not vary like time."""
    if find_spec("resource") is None:
        yield Row("memory of `sample`", "not measured: this system has no resource module")
        return
    yield from growth([(count, FEW_STEPS, f"{count} images in {FEW_STEPS} steps") for count in IMAGES])
    yield from growth([(ONE_IMAGE, steps, f"{ONE_IMAGE} image in {steps} steps") for steps in STEPS])


def growth(calls: list[tuple[int, int, str]]) -> Iterator[Row]:
    """Yield the peak memory of each call, compared with that of the first."""
    first = None
    for images, steps, words in calls:
        peak = peak_bytes(images, steps)
        what, here = f"peak memory of `sample`: {words}", f"{peak / 2**20:.0f} MiB"
        if first is None:
            first = peak, f"{words}: {here}"
            yield Row(what, here)
        else:
            yield Row(what, here, first[1], f"{peak / first[0]:.3g} times the memory")
