"""Finished images as files for the browser."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffusion_demo.errors import BadInput


@contextmanager
def write_images(x, settings: list[dict], name: str = "seed_{seed:08d}.png") -> Iterator[list[Path]]:
    """Images x, float [N, C, S, S] in [-1, 1], as PNG files with their settings inside, and named after these.

    They go with the context: gradio copies what a generator yields before it asks for more.
    """
    from diffusion_demo.images import save_png, to_pil, to_uint8

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name.format(**one) for one in settings]
        try:
            for path, pixels, one in zip(paths, to_uint8(x), settings, strict=True):
                save_png(path, to_pil(pixels), one)
        except OSError as error:
            raise BadInput(
                f"The images cannot be written ({error.strerror or error}); make room on the disk and try again."
            ) from error
        yield paths


def write_zip_of(paths: list[Path]) -> Path:
    """One zip of these files, beside them."""
    archive = paths[0].parent / "pictures.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in paths:
            file.write(path, path.name)
    return archive
