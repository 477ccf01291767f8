"""Lesson 1: the Markov chain q(x_t | x_{t-1}) compared with the closed form q(x_t | x_0)."""

import io
import json
from typing import Any

import torch
from PIL import ExifTags, Image
from torch import Tensor

from diffusion_demo.images import to_pil, to_uint8
from diffusion_demo.ui.inspect.lessons import html
from diffusion_demo.ui.inspect.lessons.scene import Scene

NUM_WALKS, STRIP_FRAMES, ANIMATION_FRAMES = 4000, 8, 40
LATEX = "\n".join(
    [
        r"q(x_t \mid x_{t-1}) = \mathcal{N}\big(\sqrt{1-\beta_t}\,x_{t-1},\ \beta_t I\big)",
        r"\Rightarrow\; q(x_t \mid x_0) = \mathcal{N}\big(\sqrt{\bar\alpha_t}\,x_0,\ (1-\bar\alpha_t) I\big)",
    ]
)


def show(scene: Scene) -> str:
    """Return the figures and numbers of the lesson. The sum itself is drawn in the browser."""
    walk, i = _walk(scene), scene.index
    frames = walk[[round(i * scene.t / (STRIP_FRAMES - 1)) for i in range(STRIP_FRAMES)]]
    beta = float(scene.chain.betas[i])
    return html.part(
        "Step by step: the same noise level",
        '<p class="found">This part always uses the schedule of the model, even if another one is chosen above.</p>',
        html.equation(
            LATEX,
            f"At t = {scene.t} one step keeps √(1&nbsp;−&nbsp;{html.short(beta)}) = {(1 - beta) ** 0.5:.5f} of "
            f"x<sub>t−1</sub> and adds √({html.short(beta)}) = {beta**0.5:.4f} of fresh noise.",
            "DDPM, Equations 2 and 4",
        ),
        html.strip(frames, f"One run of the chain, from t = 0 to t = {scene.t}, with fresh noise at each step"),
        html.image_row(
            {f"{scene.t} small step{'s' * (scene.t > 1)}": walk[-1:], "One big step, different noise": scene.xt}
        ),
        '<p class="found">The two differ pixel by pixel but follow the same distribution, as the mean and variance '
        f"of {NUM_WALKS:,} runs show (± standard error):</p>",
        _moments_table(scene),
    )


def _walk(scene: Scene) -> Tensor:
    """Return x_0 .. x_t of one run of the chain, float [t + 1, C, S, S]."""
    generator = torch.Generator().manual_seed(scene.seed + 1)
    states = [scene.x0]
    for i in range(scene.t):
        states.append(
            scene.chain.q_step(states[-1], i, torch.randn(scene.x0.shape, generator=generator).to(scene.x0.device))
        )
    return torch.cat(states)


def animation(scene: Scene, settings: dict[str, Any]) -> bytes:
    """Return the walk as an animated WebP, with the settings as JSON in its EXIF image description."""
    walk, count = _walk(scene), min(ANIMATION_FRAMES, scene.t + 1)
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


def compare_moments(scene: Scene) -> list[tuple[float, ...]]:
    """Compare sample moments of x_t with the closed form for the smallest, the median and the largest value of x_0.

    Each tuple holds x_0, then sample mean, its standard error and exact mean, then the same three for the variance.
    """
    values = scene.x0.flatten().sort().values[[0, scene.x0.numel() // 2, -1]].cpu().double()
    generator = torch.Generator().manual_seed(scene.seed + 2)
    x = values.repeat(NUM_WALKS, 1)
    for i in range(scene.t):
        x = scene.chain.q_step(x, i, torch.randn(x.shape, generator=generator, dtype=x.dtype))
    exact = scene.chain.q_mean_variance(values[None], scene.index)
    variance, exact_variance = x.var(0), float(exact.variance)
    columns = (
        values,
        x.mean(0),
        (variance / NUM_WALKS).sqrt(),
        exact.mean[0],
        variance,
        variance * (2 / (NUM_WALKS - 1)) ** 0.5,
    )
    return [(*map(float, row), exact_variance) for row in zip(*columns, strict=True)]


def _moments_table(scene: Scene) -> str:
    rows = [
        [
            f"x<sub>0</sub> = {html.fixed(x0, 3)}",
            html.measured(mean, mean_error),
            html.fixed(exact_mean, 4),
            html.measured(variance, variance_error),
            f"{exact_variance:.4f}",
        ]
        for x0, mean, mean_error, exact_mean, variance, variance_error, exact_variance in compare_moments(scene)
    ]
    head = ["clean pixel", "mean", "√ᾱ<sub>t</sub> x<sub>0</sub>", "variance", "1 − ᾱ<sub>t</sub>"]
    return html.table(head, rows)
