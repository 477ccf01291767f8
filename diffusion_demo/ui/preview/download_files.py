"""Finished images as files for the browser."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from diffusion_demo.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

ENLARGED = 8  # the factor, if the side stays below the sizes that follow
MAX_LARGER_SIDE, MAX_SHEET_SIDE, MAX_ANIMATION_SIDE = 1024, 4096, 384  # pixels
MAX_ANIMATION_FRAMES = 16  # with that side about 0.5 s of encoding on one core
FRAME_MS, LAST_FRAME_MS = 160, 2500


@contextmanager
def write_images(
    x: "Tensor", settings: list[dict[str, Any]], name: str = "seed_{seed:08d}.png"
) -> Iterator[list[Path]]:
    """Write images x, float [N, C, S, S] in [-1, 1], as PNGs that store their settings, which also format their names.

    The files are deleted at the end of the context: gradio copies what a handler yields before it resumes the handler.
    Raises BadInput if the files cannot be written.
    """
    from diffusion_demo.images import save_png, to_pil, to_uint8

    with tempfile.TemporaryDirectory() as folder, _disk_errors():
        paths = [Path(folder) / name.format(**image_settings) for image_settings in settings]
        for path, pixels, image_settings in zip(paths, to_uint8(x), settings, strict=True):
            save_png(path, to_pil(pixels), image_settings)
        yield paths


def write_zip_of(paths: list[Path], name: str) -> Path:
    """Write one zip of this name with these files into their folder and return its path."""
    archive = paths[0].parent / name
    with zipfile.ZipFile(archive, "w") as file:
        for path in paths:
            file.write(path, path.name)
    return archive


def write_larger(paths: list[Path]) -> Path:
    """Write a zip with enlarged copies of images, which have the same names and settings, and return its path."""
    from diffusion_demo.images import read_settings, save_png

    folder = paths[0].parent / "larger"
    folder.mkdir()
    for path in paths:
        with Image.open(path) as image:
            large = image.resize(_enlarged_size(image, MAX_LARGER_SIDE), Image.Resampling.NEAREST)
        save_png(folder / path.name, large, read_settings(path))
    return write_zip_of([folder / path.name for path in paths], "larger_images.zip")


def write_sheet(sheet: Image.Image, folder: Path) -> Path:
    """Write a contact sheet, enlarged without smoothing, into the folder and return its path."""
    path = folder / "contact_sheet.png"
    sheet.resize(_enlarged_size(sheet, MAX_SHEET_SIDE), Image.Resampling.NEAREST).save(path)
    return path


def write_animation(sheets: list[Image.Image], folder: Path) -> Path:
    """Write the contact sheets of a denoising as an animated WebP into the folder and return its path."""
    path = folder / "denoising.webp"
    count = min(len(sheets), MAX_ANIMATION_FRAMES)
    chosen = [sheets[round(i * (len(sheets) - 1) / max(1, count - 1))] for i in range(count)]
    size = _enlarged_size(sheets[-1], MAX_ANIMATION_SIDE)  # an upsampler starts from smaller ones
    first, *others = [sheet.convert("RGB").resize(size, Image.Resampling.NEAREST) for sheet in chosen]
    durations = [FRAME_MS] * len(others) + [LAST_FRAME_MS]
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0, quality=80, method=0)
    return path


def _enlarged_size(image: Image.Image, max_side: int) -> tuple[int, int]:
    factor = max(1, min(ENLARGED, max_side // max(image.size)))
    return image.width * factor, image.height * factor


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Convert an OSError inside the block to BadInput."""
    try:
        yield
    except OSError as error:
        raise BadInput(
            f"The images cannot be written ({error.strerror or error}). Free disk space and try again."
        ) from error
