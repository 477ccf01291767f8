"""The Markov chain against the closed form: many draws of three pixels, walked and jumped, and the image on its way."""

import io
import json

import torch
from PIL import ExifTags, Image
from torch import Tensor

from diffusion_demo.images import to_pil, to_uint8
from diffusion_demo.ui.inspect.panels import html
from diffusion_demo.ui.inspect.panels.scene import Scene

DRAWS, FRAMES, MOVING = 4000, 8, 40
LATEX = "\n".join(
    [
        r"q(x_t \mid x_{t-1}) = \mathcal{N}\big(\sqrt{1-\beta_t}\,x_{t-1},\ \beta_t I\big)",
        r"\Rightarrow\; q(x_t \mid x_0) = \mathcal{N}\big(\sqrt{\bar\alpha_t}\,x_0,\ (1-\bar\alpha_t) I\big)",
    ]
)


def show(scene: Scene) -> str:
    walk = _walked(scene)
    kept = walk[[round(i * scene.t / (FRAMES - 1)) for i in range(FRAMES)]]
    return html.panel(
        "Noise is added in many small steps, each of which looks only at the one before it: a Markov chain. One jump leads to the same place.",
        LATEX,
        "DDPM, Equations 2 and 4",
        html.strip(kept, f"one walk of the chain, from t = 0 to t = {scene.t}, with fresh noise at every step"),
        html.image_row({f"walked: {scene.t} steps": walk[-1:], "jumped: one step, other noise": scene.xt}),
        _numbers(scene),
    )


def _walked(scene: Scene) -> Tensor:
    """One walk of the image, [t + 1, C, S, S]."""
    generator = torch.Generator().manual_seed(scene.seed + 1)
    states = [scene.x0]
    for i in range(scene.t):
        states.append(
            scene.chain.q_step(states[-1], i, torch.randn(scene.x0.shape, generator=generator).to(scene.x0.device))
        )
    return torch.cat(states)


def animation(scene: Scene, settings: dict) -> bytes:
    """The walk as an animated WebP, with its settings as JSON in the EXIF description."""
    walk, count = _walked(scene), min(MOVING, scene.t + 1)
    pixels = to_uint8(walk[[round(i * scene.t / (count - 1)) for i in range(count)]])
    frames = [to_pil(one).convert("RGB").resize((256, 256), Image.Resampling.NEAREST) for one in pixels]
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.ImageDescription] = json.dumps(settings | {"t": scene.t, "seed": scene.seed})
    frames[0].save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=[1000] + [80] * (len(frames) - 2) + [1500],
        loop=0,
        exif=exif,
    )
    return buffer.getvalue()


def agreement(scene: Scene) -> list[tuple[float, float, float, float, float, float, float]]:
    """For a dark, a middling and a bright value of the image: it; then mean, its standard error and what it should be; then the variance's."""
    values = scene.x0.flatten().sort().values[[0, scene.x0.numel() // 2, -1]].double().cpu()
    generator = torch.Generator().manual_seed(scene.seed + 2)
    x = values.repeat(DRAWS, 1)
    for i in range(scene.t):
        x = scene.chain.q_step(x, i, torch.randn(x.shape, generator=generator, dtype=x.dtype))
    jump = scene.chain.q_mean_variance(values[None], scene.index)
    variance, wanted = x.var(0), float(jump.variance)
    columns = (
        values,
        x.mean(0),
        (variance / DRAWS).sqrt(),
        jump.mean[0],
        variance,
        variance * (2 / (DRAWS - 1)) ** 0.5,
    )
    return [(*map(float, row), wanted) for row in zip(*columns, strict=True)]


def _numbers(scene: Scene) -> str:
    rows = [
        [
            f"x<sub>0</sub> = {x0:.3f}",
            html.measured(mean, mean_error),
            f"{closed:.4f}",
            html.measured(variance, variance_error),
            f"{wanted:.4f}",
        ]
        for x0, mean, mean_error, closed, variance, variance_error, wanted in agreement(scene)
    ]
    head = [f"{DRAWS:,} walks", "mean", "√ᾱ<sub>t</sub> x<sub>0</sub>", "variance", "1 − ᾱ<sub>t</sub>"]
    return html.table(head, rows)
