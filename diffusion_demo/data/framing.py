"""How a picture of any shape becomes the square that a network sees."""

import re
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from diffusion_demo.data.opening import flat, open_picture, upright
from diffusion_demo.data.unreadable import explained
from diffusion_demo.errors import BadInput

FITS = ("crop", "pad", "squash")
LARGEST = 2048
# A JPEG is decoded to no less than this many times the wanted side: from three times on, nobody sees the difference.
OVERSAMPLING = 3


@dataclass(frozen=True)
class Framing:
    """The square's side in pixels; channels: 1 or 3; fit: the centre square ("crop"), the whole picture on the background ("pad"), or
    the whole picture pressed into the square ("squash"); background: "#rrggbb", also where a picture is transparent.

    Raises BadInput for anything else.
    """

    image_size: int = 32
    channels: int = 3
    fit: str = "crop"
    background: str = "#ffffff"

    def __post_init__(self):
        if not (isinstance(self.image_size, int) and 1 <= self.image_size <= LARGEST):
            raise BadInput(f"The picture size must be a whole number from 1 to {LARGEST}, not {self.image_size!r}.", "image_size")
        if self.channels not in (1, 3):
            raise BadInput(f"Channels must be 1 (greyscale) or 3 (colour), not {self.channels!r}.", "channels")
        if self.fit not in FITS:
            raise BadInput(f"The fit must be {', '.join(FITS[:-1])} or {FITS[-1]}, not {self.fit!r}.", "fit")
        if not re.fullmatch("#[0-9a-fA-F]{6}", str(self.background)):
            raise BadInput(f"The background must be a colour such as #ffffff, not {self.background!r}.", "background")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.image_size, self.image_size


def decode(data: bytes, framing: Framing) -> np.ndarray:
    """One picture's bytes -> uint8 [C, S, S]. Raises Unreadable."""
    with explained():
        image = upright(open_picture(data), OVERSAMPLING * framing.image_size)
        image = flat(image, framing.background, "RGB" if framing.channels == 3 else "L")
        pixels = np.asarray(_square(image, framing))
    channels, side, _ = framing.shape
    return np.ascontiguousarray(pixels.reshape(side, side, channels).transpose(2, 0, 1))


def _square(image: Image.Image, framing: Framing) -> Image.Image:
    side, scaling = framing.image_size, Image.Resampling.LANCZOS
    if framing.fit == "crop":
        return ImageOps.fit(image, (side, side), scaling)
    if framing.fit == "squash":
        return image.resize((side, side), scaling)
    scale = side / max(image.size)
    width, height = (max(1, round(scale * length)) for length in image.size)
    square = Image.new("RGB", (side, side), framing.background).convert(image.mode)
    square.paste(image.resize((width, height), scaling), ((side - width) // 2, (side - height) // 2))
    return square
