"""Image files that a visitor brings to the Inspect tab."""

from pathlib import Path

import numpy as np

from diffusion_demo.data import UNREADABLE, ImageTransform, UnreadableFile, decode
from diffusion_demo.data.file_errors import readable
from diffusion_demo.data.preprocess import open_image
from diffusion_demo.errors import BadInput

MAX_MEGAPIXELS = 50


class UnreadableImage(BadInput):
    """An image file that cannot be read, or is too large."""


def load_image(path: str | Path, transform: ImageTransform) -> np.ndarray:
    """Return the transformed image of a file, uint8 [C, S, S]. Raises UnreadableImage."""
    try:
        data = Path(path).read_bytes()
        with readable():
            width, height = open_image(data).size
        if width * height > MAX_MEGAPIXELS * 1_000_000:
            raise UnreadableFile(f"The image has more than {MAX_MEGAPIXELS} megapixels. Make it smaller.")
        return decode(data, transform)
    except UNREADABLE as error:
        reason = error if isinstance(error, UnreadableFile) else "Try a PNG or JPEG."
        raise UnreadableImage(f"This image cannot be read. {reason}") from error
