"""The film of a sampling run: contact sheets of x_t and of the predicted x0, as the stage shows them."""

import base64
import io

from PIL import Image
from torch import Tensor

from diffusion_demo.diffusion.samplers import Step
from diffusion_demo.images import contact_sheet, to_uint8

MAX_FRAMES = 26
MAX_ANIMATION_PIXELS = 1_200_000


def first_frame(xT: Tensor, num_timesteps: int) -> dict:
    """The pure noise that a run starts from, before the network expects anything."""
    return {"step": 0, "t": num_timesteps, "xt": tensor_data_uri(xT), "x0": None}


def frame(step: Step) -> dict:
    """One step for the stage: its number, the papers' t that its x_t is at (0: clean), and both sheets."""
    return {"step": step.index, "t": step.t_reached + 1, "xt": tensor_data_uri(step.xt), "x0": tensor_data_uri(step.x0)}


def tensor_data_uri(x: Tensor) -> str:
    """A contact sheet [N, C, H, W] in [-1, 1] as a JPEG without chroma subsampling: pixel art stays crisp, noise stays small."""
    return image_data_uri(contact_sheet(to_uint8(x)))


def image_data_uri(sheet: Image.Image) -> str:
    """A contact sheet as such a JPEG."""
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=90, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def recorded_steps(total: int, pixels: int) -> set[int]:
    """The steps, from 1, whose frames a film keeps: evenly spread, with both ends, and fewer for large sheets."""
    most = min(total, max(8, min(MAX_FRAMES, MAX_ANIMATION_PIXELS // pixels)))
    return {round(1 + i * (total - 1) / max(1, most - 1)) for i in range(most)} | {total}


def make_animation(frames: list[dict], total: int, status: str, live: bool = False) -> dict:
    """The stage's value."""
    return {"frames": frames, "total": total, "status": status, "live": live}
