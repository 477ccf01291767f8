"""What training asks: the noise, the network's guess of it, and their squared difference."""

import torch

from diffusion_demo.diffusion.losses import mean_flat
from diffusion_demo.diffusion.process import call_model
from diffusion_demo.ui.inspect.panels import html
from diffusion_demo.ui.inspect.panels.scene import Scene

DRAWS = 16
LATEX = (
    r"L_{\mathrm{simple}} = \mathbb{E}_{t, x_0, \epsilon}"
    r"\left\|\epsilon - \epsilon_\theta(\sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\epsilon,\ t)\right\|^2"
)


def show(scene: Scene) -> str:
    eps = scene.p(scene.xt, scene.index, clip=False).eps
    difference = (eps - scene.eps) ** 2
    heat = difference.mean(1, keepdim=True).expand_as(scene.x0)
    mean, error = squared_errors(scene)
    return html.panel(
        "Training shows the network x<sub>t</sub> and asks which noise is in it. The answer's squared error is the loss; nothing else is ever asked.",
        LATEX,
        "DDPM, Equation 14 and Algorithm 1",
        html.image_row(
            {
                "x<sub>t</sub>": scene.xt,
                "ε, the noise": scene.eps / 3,
                "ε<sub>θ</sub>, its guess": eps / 3,
                "where it is wrong": 2 * heat / heat.max() - 1,
            }
        ),
        f'<p class="found">At t = {scene.t} the squared error is <b>{float(difference.mean()):.4f}</b> for this noise, and '
        f'<b class="simple">{html.measured(mean, error)}</b> over {DRAWS} draws. To guess 0 would cost 1.</p>',
    )


@torch.no_grad()
def squared_errors(scene: Scene) -> tuple[float, float]:
    """L_simple of this image at this t: mean over DRAWS draws of the noise, and its standard error."""
    eps = scene.draws(DRAWS, salt=3)
    xt = scene.chain.q_sample(scene.x0.expand_as(eps).contiguous(), scene.index, eps)
    output = call_model(scene.model, scene.chain, xt, scene.index, **scene.labels(DRAWS))
    guess = scene.chain.p(output, xt, scene.index, clip=False).eps
    errors = mean_flat((guess - eps) ** 2)
    return float(errors.mean()), float(errors.std() / DRAWS**0.5)
