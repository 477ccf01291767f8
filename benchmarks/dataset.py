"""How fast a folder of images is looked at and decoded, against bare decoding of the same files by Pillow: 1,000 drawn JPEG files of 64 pixels."""

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
    """COUNT images in class folders, the same ones every time."""
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
        write_jpegs(folder := Path(home) / "pictures")
        works = {"Pillow": decoded, "looked at": data.scan}
        works = {name: partial(work, folder) for name, work in works.items()} | {
            "decoded": partial(loaded, data.scan(folder))
        }
        times = in_turns(works, rounds)
    for name in ("looked at", "decoded"):
        yield Row(
            f"{COUNT} JPEG files of 64 pixels {name}" + (", at 32 pixels" if name == "decoded" else ""),
            f"{pace(times, name, COUNT):.0f} images/s",
            f"Pillow's decoding alone: {pace(times, 'Pillow', COUNT):.0f} images/s",
            f"{ratio(times, name, 'Pillow')} times the time",
        )
