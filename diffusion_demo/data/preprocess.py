"""Decoding of image files to the square pixel arrays that networks receive."""

import io
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from diffusion_demo.data.file_errors import MAX_PIXELS, TOO_MANY_PIXELS, UnreadableFile, decoding, readable
from diffusion_demo.errors import BadInput

FORMATS = ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"]
GRAYSCALE_MODES = ("1", "L", "LA")

# Pillow warns about metadata that users cannot fix. An image is either decoded or rejected with a reason.
warnings.filterwarnings("ignore", module=r"PIL\.")


def open_image(data: bytes) -> Image.Image:
    """Open an image and read its header, without decoding the pixels.

    Raises UnreadableFile if it has more than MAX_PIXELS pixels, and the exceptions of Pillow.
    """
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableFile(TOO_MANY_PIXELS)
    return image


def load_upright(image: Image.Image, min_side: int) -> Image.Image:
    """Decode the first frame of an image in 8 bits and apply its EXIF orientation.

    A JPEG may be decoded at a reduced size with both sides at least `min_side`, which takes a tenth of the time.
    """
    image.draft(None, (min_side, min_side))
    image.load()
    with suppress(Exception):  # an invalid EXIF block does not make the pixels invalid
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return _to_eight_bits(np.asarray(image)) if image.mode in ("I", "F") else image


def flatten(image: Image.Image, background: str, mode: str) -> Image.Image:
    """Return the image in `mode` "L" or "RGB", with transparent pixels blended with the background color."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    return image.convert(mode)


def is_grayscale(image: Image.Image) -> bool:
    """Return whether the color channels of a decoded image are equal in every pixel."""
    if image.mode in GRAYSCALE_MODES:
        return True
    pixels = np.asarray(flatten(image, "white", "RGB"))
    # For most color images, a few pixels are enough to tell.
    return all(bool((part[..., :1] == part[..., 1:]).all()) for part in (pixels[::16, ::16], pixels))


def _to_eight_bits(values: np.ndarray) -> Image.Image:
    """Convert gray values [H, W] to 8 bits.

    The input range is 0 to 1, 255 or 65535, the smallest that contains the values, or else their minimum to maximum.
    """
    values = values.astype(np.float32)
    finite = values[np.isfinite(values)]
    low, high = finite.min(), finite.max()
    if low >= 0:
        low, high = 0, next((top for top in (1, 255, 65535) if high <= top), high)
    scale = 255 / max(high - low, np.finfo(np.float32).tiny)
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) * scale
    return Image.fromarray(scaled.clip(0, 255).round().astype(np.uint8))


FITS = ("crop", "pad", "squash")
MAX_IMAGE_SIZE = 2048
# A JPEG is decoded at no less than this multiple of the image size; with 3 the result is visually identical.
OVERSAMPLING = 3


@dataclass(frozen=True)
class ImageTransform:
    """The transform from an image of any size to a square.

    image_size  side of the square in pixels
    channels    1 (grayscale) or 3 (color)
    fit         "crop" (center square), "pad" (whole image on the background) or "squash" (resize without aspect ratio)
    background  color "#rrggbb" for padding and transparent pixels

    Raises BadInput for other values.
    """

    image_size: int = 32
    channels: int = 3
    fit: str = "crop"
    background: str = "#ffffff"

    def __post_init__(self) -> None:
        if not (isinstance(self.image_size, int) and 1 <= self.image_size <= MAX_IMAGE_SIZE):
            raise BadInput(
                f"The image size must be an integer from 1 to {MAX_IMAGE_SIZE}, not {self.image_size!r}.", "image_size"
            )
        if self.channels not in (1, 3):
            raise BadInput(f"Channels must be 1 (grayscale) or 3 (color), not {self.channels!r}.", "channels")
        if self.fit not in FITS:
            raise BadInput(f"The fit must be {', '.join(FITS[:-1])} or {FITS[-1]}, not {self.fit!r}.", "fit")
        if not re.fullmatch("#[0-9a-fA-F]{6}", str(self.background)):
            raise BadInput(f"The background must be a color such as #ffffff, not {self.background!r}.", "background")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape [C, S, S] of a transformed image."""
        return self.channels, self.image_size, self.image_size


def decode(data: bytes, transform: ImageTransform) -> np.ndarray:
    """Decode and transform the content of an image file to uint8 [C, S, S]. Raises UnreadableFile."""
    with decoding(), readable():
        image = load_upright(open_image(data), OVERSAMPLING * transform.image_size)
        image = flatten(image, transform.background, "RGB" if transform.channels == 3 else "L")
        pixels = np.asarray(_square(image, transform))
    channels, side, _ = transform.shape
    return np.ascontiguousarray(pixels.reshape(side, side, channels).transpose(2, 0, 1))


def _square(image: Image.Image, transform: ImageTransform) -> Image.Image:
    side, resampling = transform.image_size, Image.Resampling.LANCZOS
    if transform.fit == "crop":
        return ImageOps.fit(image, (side, side), resampling)
    if transform.fit == "squash":
        return image.resize((side, side), resampling)
    scale = side / max(image.size)
    width, height = (max(1, round(scale * length)) for length in image.size)
    square = Image.new("RGB", (side, side), transform.background).convert(image.mode)
    square.paste(image.resize((width, height), resampling), ((side - width) // 2, (side - height) // 2))
    return square
