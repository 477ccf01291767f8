"""The most memory that `sample` takes as images and steps grow, each call a process of its own."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measuring import BUNDLED, Row
from benchmarks.page_start import ROOT

# A process inherits its parent's most as its own, so a small one stands between: it asks for that of its only child.
BETWEEN = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(most if sys.platform == "darwin" else 1024 * most)
"""
IMAGES, FEW_STEPS = (16, 64, 256, 1000), 2
STEPS, ONE_IMAGE = (10, 100, 1000), 1


def most_bytes(images: int, steps: int) -> int:
    """Of a call that samples so many images in so many steps."""
    with tempfile.TemporaryDirectory() as out:
        options = [
            "--num-images",
            str(images),
            "--steps",
            str(steps),
            "--sampler",
            "ddim",
            "--out",
            str(Path(out) / "pictures"),
        ]
        line = [
            sys.executable,
            "-c",
            BETWEEN,
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
    """One call each: the rounds are not asked for, as memory does not vary like time."""
    if find_spec("resource") is None:
        yield Row("memory of `sample`", "not measured: this system has no resource module")
        return
    yield from grown([(count, FEW_STEPS, f"{count} images in {FEW_STEPS} steps") for count in IMAGES])
    yield from grown([(ONE_IMAGE, steps, f"{ONE_IMAGE} image in {steps} steps") for steps in STEPS])


def grown(calls: list[tuple[int, int, str]]) -> Iterator[Row]:
    """Each call's most, beside that of the first."""
    first = None
    for images, steps, words in calls:
        most = most_bytes(images, steps)
        what, here = f"most memory of `sample`: {words}", f"{most / 2**20:.0f} MiB"
        if first is None:
            first = most, f"{words}: {here}"
            yield Row(what, here)
        else:
            yield Row(what, here, first[1], f"{most / first[0]:.3g} times the memory")
