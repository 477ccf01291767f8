"""From the bytes of an image file to the square of pixels that a network sees."""

import io
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from diffusion_demo.data.file_errors import MAX_PIXELS, TOO_MANY_PIXELS, UnreadableFile, readable
from diffusion_demo.errors import BadInput

FORMATS = ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"]
GRAYSCALE_MODES = ("1", "L", "LA")

# They speak of tags and bytes that a person cannot mend, and the image is either read or refused with a reason.
warnings.filterwarnings("ignore", module=r"PIL\.")


def open_image(data: bytes) -> Image.Image:
    """The image's header: its size and mode are known, its pixels are not decoded yet."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableFile(TOO_MANY_PIXELS)
    return image


def upright(image: Image.Image, enough: int) -> Image.Image:
    """The first frame, turned as its EXIF says. A JPEG comes out smaller where both sides stay `enough`: that takes a tenth of the time."""
    image.draft(None, (enough, enough))
    image.load()
    with suppress(Exception):  # a broken EXIF block says nothing of the image
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return _eight_bits(np.asarray(image)) if image.mode in ("I", "F") else image


def flat(image: Image.Image, background: str, mode: str) -> Image.Image:
    """The image in `mode` "L" or "RGB", with the background's color where it is transparent."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    return image.convert(mode)


def is_grayscale(image: Image.Image) -> bool:
    """Are the channels of an upright image equal everywhere."""
    if image.mode in GRAYSCALE_MODES:
        return True
    pixels = np.asarray(flat(image, "white", "RGB"))
    # Most color images show it in a few of their pixels.
    return all((part[..., :1] == part[..., 1:]).all() for part in (pixels[::16, ::16], pixels))


def _eight_bits(values: np.ndarray) -> Image.Image:
    """Gray numbers [H, W] by the smallest usual range that holds them, 0 to 1, 255 or 65535; else from their least to their largest."""
    values = values.astype(np.float32)
    finite = values[np.isfinite(values)]
    low, high = finite.min(), finite.max()
    if low >= 0:
        low, high = 0, next((top for top in (1, 255, 65535) if high <= top), high)
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) * (
        255 / max(high - low, np.finfo(np.float32).tiny)
    )
    return Image.fromarray(scaled.clip(0, 255).round().astype(np.uint8))


FITS = ("crop", "pad", "squash")
LARGEST = 2048
# A JPEG is decoded to no less than this many times the wanted side: from three times on, nobody sees the difference.
OVERSAMPLING = 3


@dataclass(frozen=True)
class ImageTransform:
    """The square's side in pixels; channels: 1 or 3; fit: the center square ("crop"), the whole image on the background ("pad"), or
    the whole image pressed into the square ("squash"); background: "#rrggbb", also where an image is transparent.

    Raises BadInput for anything else.
    """

    image_size: int = 32
    channels: int = 3
    fit: str = "crop"
    background: str = "#ffffff"

    def __post_init__(self):
        if not (isinstance(self.image_size, int) and 1 <= self.image_size <= LARGEST):
            raise BadInput(
                f"The image size must be a whole number from 1 to {LARGEST}, not {self.image_size!r}.", "image_size"
            )
        if self.channels not in (1, 3):
            raise BadInput(f"Channels must be 1 (grayscale) or 3 (color), not {self.channels!r}.", "channels")
        if self.fit not in FITS:
            raise BadInput(f"The fit must be {', '.join(FITS[:-1])} or {FITS[-1]}, not {self.fit!r}.", "fit")
        if not re.fullmatch("#[0-9a-fA-F]{6}", str(self.background)):
            raise BadInput(f"The background must be a color such as #ffffff, not {self.background!r}.", "background")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.image_size, self.image_size


def decode(data: bytes, transform: ImageTransform) -> np.ndarray:
    """One image's bytes -> uint8 [C, S, S]. Raises Unreadable."""
    with readable():
        image = upright(open_image(data), OVERSAMPLING * transform.image_size)
        image = flat(image, transform.background, "RGB" if transform.channels == 3 else "L")
        pixels = np.asarray(_square(image, transform))
    channels, side, _ = transform.shape
    return np.ascontiguousarray(pixels.reshape(side, side, channels).transpose(2, 0, 1))


def _square(image: Image.Image, transform: ImageTransform) -> Image.Image:
    side, scaling = transform.image_size, Image.Resampling.LANCZOS
    if transform.fit == "crop":
        return ImageOps.fit(image, (side, side), scaling)
    if transform.fit == "squash":
        return image.resize((side, side), scaling)
    scale = side / max(image.size)
    width, height = (max(1, round(scale * length)) for length in image.size)
    square = Image.new("RGB", (side, side), transform.background).convert(image.mode)
    square.paste(image.resize((width, height), scaling), ((side - width) // 2, (side - height) // 2))
    return square
