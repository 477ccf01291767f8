"""Tensors <-> PIL images, contact sheets, and PNG files that carry their settings."""

import json
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from diffusion_demo.errors import BadInput

PNG_KEY = "diffusion_demo"


def to_uint8(x: Tensor) -> Tensor:
    """[-1, 1] float [..., C, H, W] -> uint8 of the same shape on the CPU, rounded to nearest."""
    return ((x.detach().float() + 1) * 127.5).round().clamp(0, 255).to("cpu", torch.uint8)


def to_float(pixels: Tensor) -> Tensor:
    """uint8 -> float32 in [-1, 1]: pixels / 127.5 - 1."""
    return pixels.float() / 127.5 - 1


def to_pil(pixels: Tensor) -> Image.Image:
    """uint8 [C, H, W], C = 1 or 3 -> an image."""
    array = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))


def columns_for(count: int) -> int:
    """The number of columns that makes a contact sheet of `count` images nearly square, never taller than wide."""
    return int(np.ceil(np.sqrt(count)))


def contact_sheet(pixels: Tensor, columns: int | None = None) -> Image.Image:
    """uint8 [N, C, H, W] -> one image of rows and columns, white where the last row ends early."""
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


def save_png(path: Path, image: Image.Image, settings: dict | None = None) -> None:
    """Write a PNG whole or not at all, with `settings` as JSON text inside."""
    text = PngImagePlugin.PngInfo()
    if settings is not None:
        text.add_text(PNG_KEY, json.dumps(settings, sort_keys=True, ensure_ascii=True))
    partial = path.with_name(f".{path.name}.partial")
    try:
        image.save(partial, "PNG", pnginfo=text)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_settings(path: str | Path) -> dict:
    """The settings inside a PNG that save_png wrote. Raises BadInput when there are none."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            settings = json.loads(image.text[PNG_KEY])
    except (OSError, ValueError, KeyError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput("This image carries no settings; drop a PNG that was made and downloaded here.") from error
    if not isinstance(settings, dict):
        raise BadInput("This image's settings cannot be read; drop a PNG that was made and downloaded here.")
    return settings
