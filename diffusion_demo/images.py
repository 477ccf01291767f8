"""Conversion of tensors to images, contact sheets, and PNG files with embedded settings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from diffusion_demo.atomic import atomic_path
from diffusion_demo.errors import BadInput
from diffusion_demo.untrusted_files import check_regular, parse_json

PNG_KEY = "diffusion_demo"


def to_uint8(x: Tensor) -> Tensor:
    """Convert float in [-1, 1] to uint8 on the CPU, rounded to nearest. The shape is kept."""
    return ((x.detach().float() + 1) * 127.5).round().clamp(0, 255).to("cpu", torch.uint8)


def to_float(pixels: Tensor) -> Tensor:
    """Convert uint8 to float32 in [-1, 1]: pixels / 127.5 - 1. The shape is kept."""
    return pixels.float() / 127.5 - 1


def to_pil(pixels: Tensor) -> Image.Image:
    """Convert uint8 [C, H, W], with C = 1 or 3, to a PIL image."""
    array = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))


def columns_for(count: int) -> int:
    """Return the number of columns for a nearly square contact sheet of `count` images, never taller than wide."""
    return int(np.ceil(np.sqrt(count)))


def contact_sheet(pixels: Tensor, columns: int | None = None) -> Image.Image:
    """Arrange uint8 images [N, C, H, W] in rows on one image; unused cells are white."""
    count, channels, height, width = pixels.shape
    columns = columns or columns_for(count)
    rows = -(-count // columns)
    sheet = torch.full((rows * columns, channels, height, width), 255, dtype=torch.uint8)
    sheet[:count] = pixels
    sheet = (
        sheet.reshape(rows, columns, channels, height, width)
        .permute(2, 0, 3, 1, 4)
        .reshape(channels, rows * height, columns * width)
    )
    return to_pil(sheet)


def split_contact_sheet(sheet: Image.Image, size: int, count: int) -> Tensor:
    """Return the first `count` images of a contact sheet of images of `size` pixels: uint8 [N, C, S, S]."""
    array = np.array(sheet)
    pixels = torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1)
    channels, rows, columns = pixels.shape[0], pixels.shape[1] // size, pixels.shape[2] // size
    cells = pixels.reshape(channels, rows, size, columns, size).permute(1, 3, 0, 2, 4)
    return cells.reshape(rows * columns, channels, size, size)[:count]


def save_png(path: Path, image: Image.Image, settings: dict[str, Any] | None = None) -> None:
    """Write a PNG atomically, with `settings` embedded as a JSON text chunk. Raises OSError if it cannot be written."""
    metadata = PngImagePlugin.PngInfo()
    if settings is not None:
        metadata.add_text(PNG_KEY, json.dumps(settings, sort_keys=True, ensure_ascii=True))
    with atomic_path(path) as temporary:
        image.save(temporary, "PNG", pnginfo=metadata)


def read_settings(path: str | Path) -> dict[str, Any]:
    """Return the settings embedded in a PNG by save_png. Raises BadInput if there are none."""
    try:
        check_regular(Path(path))
        with Image.open(path, formats=["PNG"]) as image:
            # Only the chunks before the pixels, where save_png writes: `image.text` would decode the whole image.
            settings = parse_json(image.info[PNG_KEY])
    except (OSError, ValueError, TypeError, KeyError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput("No settings found in this image. Use a PNG that was generated here.") from error
    if not isinstance(settings, dict):
        raise BadInput("The settings of this image cannot be read. Use a PNG that was generated here.")
    return settings
