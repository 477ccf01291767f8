"""Lesson 6: classifier-free guidance, the image that each class leads to from the same x_t, at two scales."""

from html import escape

import torch
from torch import Tensor

from diffusion_demo.diffusion.denoiser import call_model
from diffusion_demo.diffusion.process import Reverse
from diffusion_demo.ui.inspect.lessons import html
from diffusion_demo.ui.inspect.lessons.scene import Scene

LATEX = (
    "\\tilde\\varepsilon = \\varepsilon_\\theta(x_t, \\varnothing)\n"
    r"+ s\,\big(\varepsilon_\theta(x_t, c) - \varepsilon_\theta(x_t, \varnothing)\big)"
)
SOURCE = "Ho and Salimans 2022, Equation 6, with s = w + 1"
SIGNS = "Here c is a class, ∅ no class, and s the guidance scale: 0 ignores the class, 1 adds no guidance."
MAX_CLASSES, SCALES = 10, (1.0, 3.0)
UNGUIDED = (
    '<p class="found unguided">This model has no classes or was trained without label dropout, so it cannot be guided. '
    "Choose another model.</p>"
)


def show(scene: Scene) -> str:
    """Return the figures and numbers of the lesson."""
    metadata = scene.checkpoint.description
    if not metadata.guidance:
        return html.equation(LATEX, SIGNS, SOURCE) + UNGUIDED
    (difference, strength), changes = guidance_directions(scene), image_changes(scene)
    strongest = int(changes.argmax())
    order = sorted(strength.argsort(descending=True)[:MAX_CLASSES].tolist())
    names = [escape(metadata.title(metadata.class_names[i])) for i in order]
    unguided, rows = predicted_images(scene, order)
    largest = float(difference.abs().max()) or 1.0
    strips = [
        html.strip(images, f"x̂<sub>0</sub> for each class, s = {scale:g}{' (no guidance)' if scale == 1 else ''}")
        for scale, images in zip(SCALES, rows, strict=True)
    ]
    directions = html.strip(
        difference[order] / largest,
        "The direction of each class, ε(x<sub>t</sub>, c) − ε(x<sub>t</sub>, ∅); gray: no change",
    )
    most = metadata.title(metadata.class_names[strongest])
    change = f'<b class="change">{changes[strongest]:.1f}</b> of 255 (RMS)'
    return (
        html.equation(
            LATEX,
            f"{SIGNS} At t = {scene.t} the class that changes x̂<sub>0</sub> most is <b>{escape(most)}</b>: "
            f"by {change}.",
            SOURCE,
        )
        + html.image_row({f"x<sub>{scene.t}</sub>": scene.xt, "x̂<sub>0</sub> without a class": unguided})
        + f'<ol class="classes" style="--columns: {len(order)}">{"".join(f"<li>{name}</li>" for name in names)}</ol>'
        + "".join(strips)
        + directions
        + '<p class="found">All classes start from the same x<sub>t</sub>. A larger s makes the classes differ more. '
        "A single guess at a large s exaggerates; the button below generates finished images.</p>"
        + html.computation("guided-samples", f"Generate {most} at three guidance scales")
    )


@torch.no_grad()
def guidance_directions(scene: Scene) -> tuple[Tensor, Tensor]:
    """Return eps(x_t, c) - eps(x_t, null) for all K classes c, [K, C, S, S], and its RMS relative to the latter [K]."""
    eps = _by_label(scene).eps
    difference = eps[:-1] - eps[-1:]
    return difference, difference.flatten(1).square().mean(1).sqrt() / eps[-1].square().mean().sqrt()


@torch.no_grad()
def image_changes(scene: Scene) -> Tensor:
    """Return how much each class changes the predicted x_0, compared with no class: RMS in gray levels, [K]."""
    x0 = scene.chain.clip_x0(_by_label(scene).x0)
    return 127.5 * (x0[:-1] - x0[-1:]).flatten(1).square().mean(1).sqrt()


@torch.no_grad()
def predicted_images(scene: Scene, classes: list[int]) -> tuple[Tensor, list[Tensor]]:
    """Return the x_0 predicted without a class, [1, C, S, S], and for each of SCALES those of the classes.

    Guidance acts on x_0 as on eps, because each is linear in the other at a given x_t.
    """
    x0 = _by_label(scene).x0
    guided = [x0[-1:] + scale * (x0[classes] - x0[-1:]) for scale in SCALES]
    return scene.chain.clip_x0(x0[-1:]), [scene.chain.clip_x0(images) for images in guided]


def _by_label(scene: Scene) -> Reverse:
    """Return p_theta(x_{t-1} | x_t, c) for all K classes and then the null class, K + 1 rows."""
    labels = torch.arange(len(scene.checkpoint.description.class_names) + 1, device=scene.x0.device)
    xt = scene.xt.repeat(len(labels), 1, 1, 1)
    output = call_model(scene.model, scene.chain, xt, scene.index, class_labels=labels)
    return scene.chain.p(output, xt, scene.index, clip=False)
