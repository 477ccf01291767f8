"""Write the three small data sets of benchmarks.fine_tuning and their held-out images.

    python -m benchmarks.fine_tuning_sets CIFAR10.zip EMOJI.zip OUT

CIFAR10.zip holds train/CLASS/*.jpg, EMOJI.zip GROUP/*.png. OUT receives photographs (100 horses), emoji (300 in eight
groups, without the eight flags) and drawings (60 shapes, drawn here), and 500 other images of each in NAME-held-out.
"""

import argparse
import math
import random
import zipfile
from pathlib import Path

from PIL import Image, ImageDraw

SETS = {"photographs": 100, "emoji": 300, "drawings": 60}
HELD_OUT, HELD_OUT_SUFFIX = 500, "-held-out"
CORNERS = {"triangle": 3, "square": 4, "hexagon": 6}
SIZE, SUPERSAMPLING = 32, 4


def folder_of(name: str, index: int) -> str:
    """Return the folder of the image with this index in a data set and its held-out images."""
    return name if index < SETS[name] else name + HELD_OUT_SUFFIX


def extract(archive: Path, prefix: str, skip: tuple[str, ...], out: Path, name: str) -> None:
    """Extract a random selection of the images under `prefix`, without those whose paths start with one of `skip`."""
    with zipfile.ZipFile(archive) as opened:
        members = [
            member
            for member in sorted(opened.namelist())
            if member.startswith(prefix) and member.endswith((".jpg", ".png")) and not member.startswith(skip)
        ]
        random.Random(0).shuffle(members)
        for i, member in enumerate(members[: SETS[name] + HELD_OUT]):
            path = out / folder_of(name, i) / member.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(opened.read(member))


def drawing(corners: int, generator: random.Random) -> Image.Image:
    """Return a regular polygon in one color on another, with a dark outline, turned and placed at random."""
    side = SIZE * SUPERSAMPLING
    paper, fill = (tuple(generator.randrange(low, 256) for _ in range(3)) for low in (160, 0))
    image = Image.new("RGB", (side, side), paper)
    radius = side * generator.uniform(0.22, 0.38)
    x, y = (generator.uniform(radius, side - radius) for _ in range(2))
    angle = generator.uniform(0, 2 * math.pi)
    angles = [angle + 2 * math.pi * i / corners for i in range(corners)]
    points = [(x + radius * math.cos(each), y + radius * math.sin(each)) for each in angles]
    ImageDraw.Draw(image).polygon(points, fill=fill, outline=(40, 40, 40), width=2 * SUPERSAMPLING)
    return image.resize((SIZE, SIZE), Image.Resampling.BOX)


def draw(out: Path) -> None:
    generator = random.Random(0)
    for i in range(SETS["drawings"] + HELD_OUT):
        shape = list(CORNERS)[i % len(CORNERS)]
        path = out / folder_of("drawings", i) / shape / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        drawing(CORNERS[shape], generator).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("cifar10", "emoji", "out"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    extract(arguments.cifar10, "train/horse/", (), arguments.out, "photographs")
    extract(arguments.emoji, "", ("flags/",), arguments.out, "emoji")
    draw(arguments.out)


if __name__ == "__main__":
    main()
