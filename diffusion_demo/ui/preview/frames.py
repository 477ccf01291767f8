"""Frames of a sampling run: contact sheets of x_t and of the predicted x0, as the preview shows them."""

from typing import Any

from PIL import Image
from torch import Tensor

from diffusion_demo.diffusion.samplers import Step
from diffusion_demo.images import contact_sheet, to_uint8
from diffusion_demo.ui.data_uri import jpeg_data_uri, png_data_uri

MAX_FRAMES = 26
MAX_ANIMATION_PIXELS = 1_200_000


def first_frame(xT: Tensor, num_timesteps: int) -> dict[str, Any]:
    """Return the frame of the initial noise xT, float [N, C, H, W], which has no prediction yet."""
    return {"step": 0, "t": num_timesteps, "xt": jpeg_data_uri(sheet_of(xT)), "x0": None}


def frame(step: Step) -> dict[str, Any]:
    """Return the frame of a step: its index, the t of its x_t as in the papers (0 is clean), and both sheets.

    Clean images are shown as they are saved.
    """
    t = step.t_reached + 1
    encode = png_data_uri if t == 0 else jpeg_data_uri
    xt, x0 = (encode(sheet_of(x)) for x in (step.xt, step.x0))
    return {"step": step.index, "t": t, "xt": xt, "x0": x0}


def sheet_of(x: Tensor) -> Image.Image:
    """Return the contact sheet of images x, float [N, C, H, W] in [-1, 1]."""
    return contact_sheet(to_uint8(x))


def recorded_steps(total: int, pixels: int) -> set[int]:
    """Return the indices, from 1 to `total`, of the steps that an animation records.

    They are evenly spaced and include both ends. Sheets of more `pixels` get fewer frames.
    """
    count = min(total, max(8, min(MAX_FRAMES, MAX_ANIMATION_PIXELS // pixels)))
    return {round(1 + i * (total - 1) / max(1, count - 1)) for i in range(count)} | {total}


def make_animation(frames: list[dict[str, Any]], total: int, status: str, live: bool = False) -> dict[str, Any]:
    """Return the value of the preview component."""
    return {"frames": frames, "total": total, "status": status, "live": live}
