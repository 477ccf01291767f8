"""The film of a sampling run: contact sheets of x_t and of the predicted x0, as the stage shows them."""

import base64
import io

from PIL import Image
from torch import Tensor

from diffusion_demo.diffusion.samplers import Step
from diffusion_demo.images import columns_for, contact_sheet, to_uint8

MAX_FRAMES = 26
MAX_SHEET_BYTES = 6_000_000


def frame(step: Step) -> dict:
    """One step for the stage: its number, the papers' t that the network was asked at, and both sheets."""
    return {"step": step.index, "t": step.t + 1, "xt": data_uri(step.xt), "x0": data_uri(step.x0)}


def data_uri(x: Tensor) -> str:
    """A contact sheet [N, C, H, W] in [-1, 1] as a JPEG without chroma subsampling: pixel art stays crisp, noise stays small."""
    return sheet_uri(contact_sheet(to_uint8(x)))


def sheet_uri(sheet: Image.Image) -> str:
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=90, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def film(frames: list[dict], total: int, count: int, status: str, live: bool = False) -> dict:
    """The stage's value: frames thinned to what a page carries easily, always with the last."""
    size = len(frames[-1]["xt"]) + len(frames[-1]["x0"])
    most = max(8, min(MAX_FRAMES, MAX_SHEET_BYTES // size))
    if len(frames) > most:
        frames = [frames[round(i * (len(frames) - 1) / (most - 1))] for i in range(most)]
    return {"frames": frames, "total": total, "count": count, "columns": columns_for(count), "status": status, "live": live}
