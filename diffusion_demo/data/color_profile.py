"""Conversion of colors from the ICC profile of an image to sRGB, as image viewers show them."""

import io
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from PIL import Image, ImageCms

COLOR_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}  # of a profile, by the mode of the image
SAME_COLOR = 2  # of 255: the many versions of sRGB profiles differ by this much
PROBE = range(0, 256, 51)


def changes_colors(image: Image.Image, profile: bytes | None) -> bool:
    """Return whether a profile gives an image of 8 bits other colors than sRGB."""
    return bool(profile) and _to_srgb_transform(profile, _without_opacity(image)[0]) is not None


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an image of 8 bits in sRGB. A profile that is damaged or of another color space is ignored."""
    if not profile:
        return image
    mode, opacity = _without_opacity(image)
    if (transform := _to_srgb_transform(profile, mode)) is None:
        return image
    converted = ImageCms.applyTransform(image.convert(mode), transform)
    assert converted is not None
    if mode == "L":
        converted = converted.convert("L")
    if opacity:
        converted.putalpha(image.convert("RGBA").getchannel("A"))
    return converted


def _without_opacity(image: Image.Image) -> tuple[str, bool]:
    """Return the mode of an image's colors, and whether it also has opacity."""
    mode = "L" if image.mode in ("L", "LA", "La") else "CMYK" if image.mode == "CMYK" else "RGB"
    return mode, image.has_transparency_data


@lru_cache(maxsize=8)
def _to_srgb_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to sRGB; None if it is damaged, does not fit the mode or changes no color."""
    try:
        source: Any = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != COLOR_SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    channels = len(Image.new(mode, (1, 1)).getbands())
    colors = np.array(list(product(PROBE, repeat=channels)), np.uint8)
    probe = Image.frombytes(mode, (len(colors), 1), colors.tobytes())
    converted = ImageCms.applyTransform(probe, transform)
    assert converted is not None
    difference = np.asarray(converted).astype(int) - np.asarray(probe.convert("RGB"))
    return transform if np.abs(difference).max() > SAME_COLOR else None
