"""A file's bytes -> a picture that stands upright, of 8 bits a channel. Raises whatever Pillow raises: see `explained`."""

import io
import warnings
from contextlib import suppress

import numpy as np
from PIL import Image, ImageOps

from diffusion_demo.data.unreadable import MAX_PIXELS, TOO_MANY_PIXELS, Unreadable

FORMATS = ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"]
GREY_MODES = ("1", "L", "LA")

# They speak of tags and bytes that a person cannot mend, and the picture is either read or refused with a reason.
warnings.filterwarnings("ignore", module=r"PIL\.")


def open_picture(data: bytes) -> Image.Image:
    """The picture's header: its size and mode are known, its pixels are not decoded yet."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise Unreadable(TOO_MANY_PIXELS)
    return image


def upright(image: Image.Image, enough: int) -> Image.Image:
    """The first frame, turned as its EXIF says. A JPEG comes out smaller where both sides stay `enough`: that takes a tenth of the time."""
    image.draft(None, (enough, enough))
    image.load()
    with suppress(Exception):  # a broken EXIF block says nothing of the picture
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return _eight_bits(np.asarray(image)) if image.mode in ("I", "F") else image


def flat(image: Image.Image, background: str, mode: str) -> Image.Image:
    """The picture in `mode` "L" or "RGB", with the background's colour where it is transparent."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    return image.convert(mode)


def is_grey(image: Image.Image) -> bool:
    """Are the channels of an upright picture equal everywhere."""
    if image.mode in GREY_MODES:
        return True
    pixels = np.asarray(flat(image, "white", "RGB"))
    # Most colour pictures show it in a few of their pixels.
    return all((part[..., :1] == part[..., 1:]).all() for part in (pixels[::16, ::16], pixels))


def _eight_bits(values: np.ndarray) -> Image.Image:
    """Grey numbers [H, W] by the smallest usual range that holds them, 0 to 1, 255 or 65535; else from their least to their largest."""
    values = values.astype(np.float32)
    finite = values[np.isfinite(values)]
    low, high = finite.min(), finite.max()
    if low >= 0:
        low, high = 0, next((top for top in (1, 255, 65535) if high <= top), high)
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) * (255 / max(high - low, np.finfo(np.float32).tiny))
    return Image.fromarray(scaled.clip(0, 255).round().astype(np.uint8))
