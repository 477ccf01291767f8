"""Time from `train` on 1,000 JPEG files to its first step, compared with importing the libraries it needs."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from benchmarks.dataset import COUNT, write_jpegs
from benchmarks.measuring import Row, in_turns, ratio
from benchmarks.page_start import ROOT

IMPORTS = "import accelerate, torch; from diffusers import UNet2DModel; from diffusers.training_utils import EMAModel"


def import_libraries() -> None:
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)


def first_step(images: Path, home: Path, number: Iterator[int]) -> None:
    """Run the command until it reports its first step. Raises ChildProcessError if it exits before."""
    options = ["--data", str(images), "--run", str(home / str(next(number))), "--max-steps", "100", "--json"]
    line = [sys.executable, "-m", "diffusion_demo", "train", *options]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True) as trainer:
        started = any(json.loads(event)["type"] == "step" for event in trainer.stdout)
        trainer.kill()
    if not started:
        raise ChildProcessError(f"{' '.join(line)} exited before its first step.")


def rows(rounds: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        write_jpegs(images := Path(folder) / "images")
        times = in_turns(
            {"imports": import_libraries, "train": partial(first_step, images, Path(folder), count())}, 1 + rounds // 2
        )
    yield Row(
        f"from `train` on {COUNT} JPEG files to its first step",
        f"{median(times['train']):.1f} s",
        f"importing torch, accelerate and diffusers alone: {median(times['imports']):.1f} s",
        f"{ratio(times, 'train', 'imports')} times the time",
    )
