"""Finished images as files for the browser."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_demo.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def write_images(
    x: "Tensor", settings: list[dict[str, Any]], name: str = "seed_{seed:08d}.png"
) -> Iterator[list[Path]]:
    """Write images x, float [N, C, S, S] in [-1, 1], as PNGs that store their settings, which also format their names.

    The files are deleted at the end of the context: gradio copies what a handler yields before it resumes the handler.
    Raises BadInput if the files cannot be written.
    """
    from diffusion_demo.images import save_png, to_pil, to_uint8

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name.format(**image_settings) for image_settings in settings]
        try:
            for path, pixels, image_settings in zip(paths, to_uint8(x), settings, strict=True):
                save_png(path, to_pil(pixels), image_settings)
        except OSError as error:
            raise BadInput(
                f"The images cannot be written ({error.strerror or error}). Free disk space and try again."
            ) from error
        yield paths


def write_zip_of(paths: list[Path]) -> Path:
    """Write one zip of these files into their folder and return its path."""
    archive = paths[0].parent / "pictures.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in paths:
            file.write(path, path.name)
    return archive
