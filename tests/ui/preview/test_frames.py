"""Frames of a sampling run as the preview shows them."""

import base64
import io

import torch
from PIL import Image, ImageChops

from diffusion_demo.diffusion.samplers import Step
from diffusion_demo.ui.preview.frames import frame, sheet_of


def shown(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")


def test_clean_images_are_shown_exactly_and_noise_is_small():
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    last, earlier = (frame(Step(index=3, total=3, t=0, t_reached=t, xt=x, x0=x)) for t in (-1, 400))
    assert last["t"] == 0 and earlier["t"] == 401
    for uri in (last["xt"], last["x0"]):
        assert ImageChops.difference(shown(uri), sheet_of(x).convert("RGB")).getbbox() is None
    assert earlier["xt"].startswith("data:image/jpeg")
