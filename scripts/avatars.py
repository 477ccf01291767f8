"""Render a data set of avatars in ten classes: `python -m scripts.avatars --out scratch/avatars`.

DiceBear draws an avatar from a style and a seed, so the data set has no size limit and each image can be made again
from its name. All ten styles are CC0. Each split becomes one ZIP file with a folder per class and a `metadata.jsonl`
(one line per image, in the layout of Hugging Face's ImageFolder) that holds the attributes which the generator chose.
The splits use disjoint ranges of seeds.
"""

import argparse
import io
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from multiprocessing import Pool
from pathlib import Path

import resvg_py
from dicebear import Avatar, Style
from PIL import Image

STYLES = {
    "monster": "critters",
    "plant": "sprouts",
    "planet": "planets",
    "block person": "voxel-art",
    "pixel person": "pixel-art",
    "landscape": "landscape",
    "smiley": "moods",
    "portrait": "lorelei",
    "robot": "voxel-bot",
    "paper face": "cutouts",
}
FIRST_SEED = {"train": 0, "validation": 1_000_000, "test": 2_000_000}
RENDER_SIZE = 128
TRANSPARENT = "#ffffff00"
LICENSE = "CC0 1.0"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold: the same images give the same bytes


@dataclass(frozen=True)
class AvatarSpec:
    """What to draw: a class of STYLES, the generator's seed, and the side in pixels, which divides RENDER_SIZE."""

    class_name: str
    seed: int
    size: int

    @property
    def file_name(self) -> str:
        return f"{self.class_name}/{self.seed:07d}.png"


@cache
def load_style(class_name: str) -> Style:
    """Return the DiceBear style of a class. Raises ValueError unless its definition states the CC0 license."""
    definition = json.loads(files("dicebear_styles").joinpath(f"{STYLES[class_name]}.json").read_text("utf-8"))
    license_name = definition["meta"]["license"]["name"]
    if license_name != LICENSE:
        raise ValueError(f"The style {STYLES[class_name]} is licensed under {license_name}, not {LICENSE}.")
    return Style(definition)


def draw_avatar(spec: AvatarSpec) -> tuple[Image.Image, dict[str, str]]:
    """Return the image, RGB on white and box-filtered to spec.size, and its attributes."""
    rendered, attributes = _render(spec, {})
    image = Image.alpha_composite(Image.new("RGBA", rendered.size, "white"), rendered).convert("RGB")
    return image.resize((spec.size, spec.size), Image.Resampling.BOX), attributes


def draw_cutout(spec: AvatarSpec) -> tuple[Image.Image, dict[str, str]]:
    """Return the image without its background, RGBA and box-filtered to spec.size, and its attributes."""
    rendered, attributes = _render(spec, {"backgroundColor": [TRANSPARENT]})
    cutout = rendered.resize((spec.size, spec.size), Image.Resampling.BOX)
    return cutout, {name: value for name, value in attributes.items() if name != "backgroundColor"}


def _render(spec: AvatarSpec, options: dict) -> tuple[Image.Image, dict[str, str]]:
    avatar = Avatar(load_style(spec.class_name), {"seed": str(spec.seed), "size": RENDER_SIZE} | options)
    png = resvg_py.svg_to_bytes(svg_string=avatar.to_string(), skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA"), read_attributes(avatar.to_json()["options"])


def read_attributes(options: dict) -> dict[str, str]:
    """Return the variants and colors that the seed chose, each as one string. Parts that are absent are left out."""
    attributes = {}
    for name, value in options.items():
        if name.endswith(("Variant", "Color")) and value:
            attributes[name] = value if isinstance(value, str) else " ".join(value)
    return attributes


def _encode(spec: AvatarSpec) -> tuple[AvatarSpec, bytes, dict[str, str]]:
    image, attributes = draw_avatar(spec)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return spec, buffer.getvalue(), attributes


def list_specs(split: str, images_per_class: int, size: int) -> Iterator[AvatarSpec]:
    """Yield the avatars of a split, class after class."""
    first = FIRST_SEED[split]
    for class_name in STYLES:
        for seed in range(first, first + images_per_class):
            yield AvatarSpec(class_name, seed, size)


def write_zip(path: Path, split: str, images_per_class: int, size: int) -> None:
    """Render a split into a zip. The file appears only when it is complete."""
    partial = path.with_name(f".{path.name}.partial")
    metadata = []
    with Pool(os.cpu_count()) as pool, zipfile.ZipFile(partial, "w") as archive:
        for spec, png, attributes in pool.imap(_encode, list_specs(split, images_per_class, size), chunksize=64):
            archive.writestr(zipfile.ZipInfo(spec.file_name, EPOCH), png)
            metadata.append(
                json.dumps({"file_name": spec.file_name, "class": spec.class_name, "attributes": attributes})
            )
        archive.writestr(zipfile.ZipInfo("metadata.jsonl", EPOCH), "\n".join(metadata) + "\n", zipfile.ZIP_DEFLATED)
    partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where the zips go; not a folder that git tracks"
    )
    parser.add_argument("--size", type=int, default=32, choices=(16, 32, 64, 128), help="side in pixels (default: 32)")
    for split, default in (("train", 10_000), ("validation", 1_000), ("test", 1_000)):
        parser.add_argument(
            f"--{split}",
            type=int,
            default=default,
            metavar="N",
            help=f"images per class (default: {default}, at most 20000)",
        )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for split in FIRST_SEED:
        if not 0 <= (count := getattr(arguments, split)) <= 20_000:
            parser.error(f"--{split} must be from 0 to 20000, not {count}")
        if count:
            path = arguments.out / f"avatars-{arguments.size}-{split}.zip"
            write_zip(path, split, count, arguments.size)
            print(f"{path}: {count} images of each of {len(STYLES)} classes")


if __name__ == "__main__":
    main()
