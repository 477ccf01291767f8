"""Speed of scanning and decoding a folder of 1,000 JPEG files of 64 pixels, compared with bare decoding by Pillow."""

import random
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from PIL import Image

from benchmarks.measuring import Row, in_turns, pace, ratio
from diffusion_demo import data
from diffusion_demo.data.synthetic_shapes import CLASSES, draw

COUNT = 1000


def write_jpegs(folder: Path) -> None:
    """Write COUNT images into class folders, deterministically."""
    generator = random.Random(0)
    for class_name in CLASSES:
        (folder / class_name).mkdir(parents=True)
        for i in range(COUNT // len(CLASSES)):
            draw(class_name, generator).save(folder / class_name / f"{i:04d}.jpg", quality=90)


def decoded(folder: Path) -> None:
    for path in folder.rglob("*.jpg"):
        Image.open(path).convert("RGB")


def loaded(report: data.Report) -> None:
    for held_out in (False, True):
        data.load_transformed(report, data.ImageTransform(32, 3), held_out)


def rows(rounds: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as home:
        write_jpegs(folder := Path(home) / "images")
        works = {"Pillow": decoded, "scanned": data.scan}
        works = {name: partial(work, folder) for name, work in works.items()} | {
            "decoded": partial(loaded, data.scan(folder))
        }
        times = in_turns(works, rounds)
    for name in ("scanned", "decoded"):
        yield Row(
            f"{COUNT} JPEG files of 64 pixels {name}" + (", at 32 pixels" if name == "decoded" else ""),
            f"{pace(times, name, COUNT):.0f} images/s",
            f"decoding by Pillow alone: {pace(times, 'Pillow', COUNT):.0f} images/s",
            f"{ratio(times, name, 'Pillow')} times the time",
        )
