"""Values of more than 8 bits, which Pillow truncates, wraps or inverts in several formats."""

import io
import re
import sys
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin
from PIL.ImageFile import ImageFile

from diffusion_demo.data.file_errors import UnreadableFile
from diffusion_demo.data.names import FORMATS

TIFF_SIGNATURES = (b"II*\0", b"MM\0*")
BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANAR, SAMPLE_FORMAT = 258, 259, 262, 277, 284, 339  # tags of TIFF
NUMBERS = {1: "unsigned", 2: "signed", 3: "floating-point"}  # by SampleFormat
DEEP_RAW_MODE = re.compile(r"(.+);16[BLN]")  # not "BGR;16", which has 16 bits for all colors together


def turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation in place."""
    with suppress(Exception):  # an invalid EXIF block does not make the pixels invalid
        ImageOps.exif_transpose(image, in_place=True)


def refuse_misread_values(image: Image.Image) -> None:
    """Raise UnreadableFile for values that Pillow decodes to others than those of the file."""
    if problem := _tiff_problem(image) or _precision_problem(image):
        raise UnreadableFile(f"{problem}. Save the image as PNG.")


def _tiff_problem(image: Image.Image) -> str | None:
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    tags = image.tag_v2
    bits, numbers = max(tags.get(BITS, (1,))), max(tags.get(SAMPLE_FORMAT, (1,)))
    if bits > 8 and tags.get(PHOTOMETRIC) == 0:
        return f"A TIFF of {bits} bits in which 0 is white is not supported"
    if bits > 8 and tags.get(PLANAR) == 2 and tags.get(SAMPLES, 1) > 1:
        return f"A TIFF of {bits} bits that stores each color in a plane of its own is not supported"
    if bits <= 8 and numbers == 2:
        return f"A TIFF of signed {bits}-bit numbers is not supported"
    if tags.get(PHOTOMETRIC) == 6 and tags.get(COMPRESSION, 1) == 1:
        return "An uncompressed TIFF in YCbCr is not supported"
    return None


def _precision_problem(image: Image.Image) -> str | None:
    for raw_mode in _raw_modes(image):
        deep = DEEP_RAW_MODE.fullmatch(raw_mode)
        if deep and image.mode[0] not in "IF" and raw_mode not in (*_LOWER_BYTE, "LA;16B"):
            kind = {"RGBa": "premultiplied RGBA"}.get(deep[1], image.mode)
            return f"{image.format} images in {kind} with 16 bits for each color are not supported"
    if _ppm_maximum(image) > 255 and isinstance(image, ImageFile) and image.tile[0].codec_name == "ppm_plain":
        return "A text PPM of more than 8 bits is not supported"
    return None


def refuse_unsupported_tiff(data: bytes) -> None:
    """Raise UnreadableFile with the kind of values of a TIFF that Pillow cannot open although its tags are intact."""
    if not data.startswith(TIFF_SIGNATURES):
        return
    tags, file = TiffImagePlugin.ImageFileDirectory_v2(data[:8]), io.BytesIO(data)
    try:
        file.seek(tags.next)
        tags.load(file)
        channels = int(tags.get(SAMPLES, 1))
        kind = f"{max(tags[BITS])}-bit {NUMBERS[max(tags.get(SAMPLE_FORMAT, (1,)))]} numbers"
        kind += f" in {channels} channels" if channels > 1 else ""
    except Exception:  # damaged tags raise nearly every type of exception
        return
    raise UnreadableFile(f"A TIFF of {kind} is not supported. Save the image as PNG.")


# Raw modes of 16 bits for a color, of which Pillow keeps the upper byte; and those that keep the lower one instead.
_LOWER_BYTE = {
    f"{colors};16{order}": f"{colors};16{other}"
    for colors in ("RGB", "RGBA", "RGBX")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}


def load_deep_color(image: Image.Image) -> np.ndarray | None:
    """Return the values of an image of 16 bits for each color, uint16 [H, W, C], upright; None for any other.

    Pillow has no mode for them. Its decoders give the upper or the lower bytes, by the stated order of the bytes.
    """
    if not isinstance(image, ImageFile):
        return None
    if _ppm_maximum(image) > 255:
        return _load_deep_ppm(image)
    raw_modes = _raw_modes(image)
    if raw_modes == {"LA;16B"}:  # four bytes for each pixel, as RGBA has
        both = _decode_as(image, {"LA;16B": "RGBA"}).astype(np.uint16)
        gray, opacity = both[..., 0] << 8 | both[..., 1], both[..., 2] << 8 | both[..., 3]
        return np.stack([gray, gray, gray, opacity], axis=-1)
    if not raw_modes or not raw_modes <= _LOWER_BYTE.keys():
        return None
    values = _decode_as(image, {}).astype(np.uint16) << 8
    values |= _decode_as(image, _LOWER_BYTE)
    return values


def deep_values_of(image: Image.Image) -> np.ndarray | None:
    """Return the values of a decoded image of one channel, [H, W], if it has more than 8 bits, else None."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return None
    values = np.asarray(image)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode == "I":
        is_unsigned = max(image.tag_v2.get(SAMPLE_FORMAT, (1,))) == 1  # Pillow's integers are signed
        return values.view(np.uint32) if is_unsigned else values
    return values


def with_transparent_color(values: np.ndarray, transparent: Any) -> np.ndarray:
    """Return values [H, W, 4] with the opacity that the transparent color of a 16-bit PNG stands for.

    Transparent pixels become 0, so that a color which only marks them does not count in the range of values.
    """
    colors = values if values.ndim == 3 else np.stack([values] * 3, axis=-1)
    opaque = (colors != np.asarray(transparent)).any(axis=-1, keepdims=True)
    return np.concatenate([colors * opaque, opaque * np.uint16(65535)], axis=-1).astype(np.uint16)


def _ppm_maximum(image: Image.Image) -> int:
    """Return the value that is white in a PPM of colors, 0 for any other image."""
    if image.format != "PPM" or image.mode != "RGB" or not isinstance(image, ImageFile) or not image.tile:
        return 0
    args = image.tile[0].args
    return int(args[1]) if isinstance(args, tuple) else 255


def _load_deep_ppm(image: ImageFile) -> np.ndarray:
    """Return the values of a binary PPM of two bytes for each color, as Pillow reads those of a PGM: white is 65535."""
    assert isinstance(image.fp, io.BytesIO)
    shape = (image.height, image.width, 3)
    values = np.frombuffer(image.fp.getvalue(), ">u2", int(np.prod(shape)), image.tile[0].offset).reshape(shape)
    maximum = _ppm_maximum(image)
    return (values.clip(0, maximum).astype(np.float32) * (65535 / maximum)).round().astype(np.uint16)


def _raw_modes(image: Image.Image) -> set[str]:
    return {_raw_mode(tile) for tile in image.tile} if isinstance(image, ImageFile) else set()


def _raw_mode(tile: Any) -> str:
    return tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0])


def _decode_as(image: ImageFile, raw_modes: dict[str, str]) -> np.ndarray:
    """Decode an image again with the given raw modes. Returns uint8 [H, W, C], upright."""
    assert isinstance(image.fp, io.BytesIO)
    again = Image.open(io.BytesIO(image.fp.getvalue()), formats=FORMATS)
    assert isinstance(again, ImageFile)
    changed = []
    for tile in again.tile:
        raw_mode = raw_modes.get(_raw_mode(tile), _raw_mode(tile))
        changed.append(
            tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *(tile.args or ())[1:]))
        )
    again.tile = changed
    again.load()
    turn_upright(again)
    return np.asarray(again)
