"""Fixtures and helpers of the data tests: small images, a photograph, and zip files."""

import zipfile
from pathlib import Path

import gradio.media
import pytest
from PIL import Image

from diffusion_demo.data import ImageTransform, decode


@pytest.fixture
def photograph():
    return Path(gradio.media.get_image("cheetah1.jpg"))


def write_colors(folder, count, start=0, size=(8, 8)):
    """Write `count` different small images."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + count):
        Image.new("RGB", size, (i * 7 % 256, i * 13 % 256, i)).save(folder / f"{i:03d}.png")


def one_pixel(path, channels=3, at=(0, 0), size=8, **transform):
    return decode(path.read_bytes(), ImageTransform(size, channels, **transform))[:, at[1], at[0]].tolist()


def write_zip_of(folder, target, extra=()):
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
        for name, data in extra:
            archive.writestr(name, data)
    return target


def tree(folder):
    """Return every path below a folder, with its size."""
    return sorted((str(path), path.lstat().st_size) for path in folder.rglob("*"))
