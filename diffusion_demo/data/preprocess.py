"""Decoding of image files to the square pixel arrays that networks receive."""

import io
import re
import warnings
import zlib
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Protocol

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from diffusion_demo.data.color_profile import changes_colors, to_srgb
from diffusion_demo.data.deep_values import (
    deep_values_of,
    load_deep_color,
    refuse_misread_values,
    refuse_unsupported_tiff,
    turn_upright,
    with_transparent_color,
)
from diffusion_demo.data.file_errors import MAX_PIXELS, TOO_MANY_PIXELS, UnreadableFile, decoding, readable
from diffusion_demo.data.names import FORMATS
from diffusion_demo.errors import BadInput

RANGE_TOPS = (1, 255, 1023, 4095, 16383, 65535)  # of floats, and of 8, 10, 12, 14 and 16 bits
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
LARGE_PIXELS = 4_000_000
MAX_TEXT_BYTES = 16_000_000  # in all text chunks of a PNG
TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
GRAYSCALE_MODES = ("1", "L", "LA")

# Pillow warns about metadata that users cannot fix. An image is either decoded or rejected with a reason.
warnings.filterwarnings("ignore", module=r"PIL\.")


def open_image(data: bytes) -> Image.Image:
    """Open an image and read its header, without decoding the pixels.

    Raises UnreadableFile if it has more than MAX_PIXELS pixels or values that Pillow misreads, and Pillow's exceptions.
    """
    try:
        image = Image.open(io.BytesIO(without_large_text(data)), formats=FORMATS)
    except UnidentifiedImageError:
        refuse_unsupported_tiff(data)
        raise
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableFile(TOO_MANY_PIXELS)
    refuse_misread_values(image)
    return image


_large_images = BoundedSemaphore(4)


def large_image_slot(image: Image.Image) -> AbstractContextManager:
    """Return a context manager that lets few threads decode large images at a time, to bound the memory."""
    return _large_images if image.width * image.height > LARGE_PIXELS else nullcontext()


def has_frames(image: Image.Image) -> bool:
    """Return whether an image is animated or has several pages, of which only the first is used."""
    with suppress(Exception):  # a damaged second frame does not make the first one invalid
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))  # MPO: a photo with a depth map
    return False


@dataclass(frozen=True, eq=False)
class Pixels:
    """Decoded pixels of the first frame, upright.

    image    as Pillow decodes them, where that keeps all bits of the file
    deep     else the values of more than 8 bits, [H, W] or [H, W, C] with C = 3 colors or, with opacity, 4
    profile  ICC profile of the colors, if the file has one
    """

    image: Image.Image
    deep: np.ndarray | None
    profile: bytes | None

    @property
    def extremes(self) -> tuple[float, float] | None:
        """The lowest and the highest finite value of the colors if they have more than 8 bits, else None."""
        if self.deep is None:
            return None
        values = self.deep[..., :3] if self.deep.ndim == 3 else self.deep
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
            if not values.size:
                raise UnreadableFile("No value of the image is a finite number. Save the image again.")
        return float(values.min()), float(values.max())

    @property
    def has_other_colors(self) -> bool:
        """Whether the profile gives the pixels other colors than sRGB."""
        return self.profile is not None and changes_colors(self._in_eight_bits(), self.profile)

    def in_eight_bits(self, value_range: tuple[float, float] | None = None) -> Image.Image:
        """Return the image in 8 bits and sRGB.

        Deep values are mapped from `value_range`, or from the range of this image.
        """
        return to_srgb(self._in_eight_bits(value_range), self.profile)

    def _in_eight_bits(self, value_range: tuple[float, float] | None = None) -> Image.Image:
        if self.deep is None or (extremes := self.extremes) is None:
            return self.image
        return _to_eight_bits(self.deep, *(value_range or smallest_range(*extremes)))


def load_pixels(image: Image.Image, min_side: int) -> Pixels:
    """Decode the first frame of an image and apply its EXIF orientation.

    A JPEG may be decoded at a reduced size with both sides at least `min_side`, which takes a tenth of the time.
    """
    profile, transparent = image.info.get("icc_profile"), image.info.get("transparency")
    if (deep := load_deep_color(image)) is None:
        image.draft(None, (min_side, min_side))
        image.load()
        turn_upright(image)
        deep = deep_values_of(image)
    if deep is not None and image.format == "PNG" and transparent is not None:
        deep = with_transparent_color(deep, transparent)
    return Pixels(image, deep, profile)


def smallest_range(low: float, high: float) -> tuple[float, float]:
    """Return the range that values from `low` to `high` most likely come from.

    It is 0 to the first of RANGE_TOPS that contains them, and `low` to `high` if there is none or `low` is negative.
    """
    if low < 0:
        return low, high
    return 0.0, next((float(top) for top in RANGE_TOPS if high <= top), high)


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


def _to_eight_bits(values: np.ndarray, low: float, high: float) -> Image.Image:
    """Convert values [H, W] or [H, W, C] in low to high to 8 bits."""
    if values.dtype == np.uint16:  # a table needs a fraction of the memory
        return Image.fromarray(_scaled(np.arange(65536), low, high)[values])
    return Image.fromarray(_scaled(values, low, high))


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    values = values.astype(np.float32)
    scale = 255 / max(high - low, float(np.finfo(np.float32).tiny))
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) * scale
    return scaled.clip(0, 255).round().astype(np.uint8)


def without_large_text(data: bytes) -> bytes:
    """Return a PNG without the text chunks that Pillow refuses because they unpack to more than a megabyte."""
    if not data.startswith(PNG_SIGNATURE):
        return data
    kept, start, total = [PNG_SIGNATURE], len(PNG_SIGNATURE), 0
    while start < len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        kind = data[start + 4 : start + 8]
        if kind in TEXT_CHUNKS:
            # Beyond the total no chunk is unpacked: thousands of small ones would take minutes.
            size = _text_size(data[start + 8 : end - 4]) if total <= MAX_TEXT_BYTES else MAX_TEXT_BYTES
            total += size
        else:
            size = 0
        if not size or (size <= PngImagePlugin.MAX_TEXT_CHUNK and total <= MAX_TEXT_BYTES):
            kept.append(data[start:end])
        start = end
    return data if sum(map(len, kept)) == len(data) else b"".join(kept)


def _text_size(chunk: bytes) -> int:
    """Return the unpacked size of a text chunk or color profile, at most a little more than Pillow accepts."""
    for start in (match.start() for match in re.finditer(b"\x78", chunk[:1000])):  # the first byte of a zlib stream
        with suppress(zlib.error):
            return len(zlib.decompressobj().decompress(chunk[start:], PngImagePlugin.MAX_TEXT_CHUNK + 1))
    return len(chunk)


FITS = ("crop", "pad", "squash")
MAX_IMAGE_SIZE = 2048
# A JPEG is decoded at no less than this multiple of the image size; with 3 the result is visually identical.
OVERSAMPLING = 3


class PreparesImages(Protocol):
    """The settings of a run or the metadata of a checkpoint: how its training images became squares."""

    @property
    def image_size(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def fit(self) -> str: ...
    @property
    def background(self) -> str: ...


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

    @classmethod
    def of(cls, model: PreparesImages) -> "ImageTransform":
        """Return the transform of a model's training images, for any image that the model receives."""
        return cls(model.image_size, model.channels, model.fit, model.background)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape [C, S, S] of a transformed image."""
        return self.channels, self.image_size, self.image_size


def decode(data: bytes, transform: ImageTransform, value_range: tuple[float, float] | None = None) -> np.ndarray:
    """Decode and transform the content of an image file to uint8 [C, S, S]. Raises UnreadableFile.

    `value_range` is that of all images of the data set with more than 8 bits; the default is that of this image.
    """
    with decoding(), readable():
        image = open_image(data)
        with large_image_slot(image):
            image = load_pixels(image, OVERSAMPLING * transform.image_size).in_eight_bits(value_range)
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
