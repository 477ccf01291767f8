"""Panel: the guidance direction of each class, the difference between conditional and unconditional prediction."""

from html import escape

import torch

from diffusion_demo.diffusion.denoiser import call_model
from diffusion_demo.ui.inspect.panels import html
from diffusion_demo.ui.inspect.panels.scene import Scene

LATEX = (
    r"\tilde\epsilon = \epsilon_\theta(x_t, \varnothing)"
    r" + s\,\big(\epsilon_\theta(x_t, c) - \epsilon_\theta(x_t, \varnothing)\big)"
)
SOURCE = "Ho and Salimans 2022, Equation 6, with s = w + 1: 1 is no guidance"
MAX_CLASSES = 24


def show(scene: Scene) -> str:
    """Return the HTML of the panel."""
    metadata = scene.checkpoint.description
    if not metadata.guidance:
        return html.panel(
            "This model knows no classes, or was never trained without them, so it cannot be guided: "
            "choose another one.",
            LATEX,
            SOURCE,
        )
    difference, strength = guidance_directions(scene)
    order = strength.argsort(descending=True)[:MAX_CLASSES].tolist()
    largest = float(difference.abs().max()) or 1.0
    named = {
        f"{escape(metadata.title(metadata.class_names[i]))}<br>{strength[i]:.3f}": difference[i : i + 1] / largest
        for i in order
    }
    return html.panel(
        "With a class given, the prediction shifts slightly. "
        "Guidance pushes further in that direction. Gray: no difference.",
        LATEX,
        SOURCE,
        html.image_row({"x<sub>t</sub>": scene.xt} | named),
        f'<p class="found">The numbers are the length of the difference beside that of the noise itself, '
        f"at t = {scene.t}, strongest first.</p>",
    )


@torch.no_grad()
def guidance_directions(scene: Scene) -> tuple[torch.Tensor, torch.Tensor]:
    """Return eps(x_t, c) - eps(x_t, null) for all K classes c, [K, C, S, S], and its RMS relative to the latter [K]."""
    metadata = scene.checkpoint.description
    labels = torch.arange(len(metadata.class_names) + 1, device=scene.x0.device)
    xt = scene.xt.repeat(len(labels), 1, 1, 1)
    output = call_model(scene.model, scene.chain, xt, scene.index, class_labels=labels)
    eps = scene.chain.p(output, xt, scene.index, clip=False).eps
    difference = eps[:-1] - eps[-1:]
    return difference, difference.flatten(1).square().mean(1).sqrt() / eps[-1].square().mean().sqrt()
