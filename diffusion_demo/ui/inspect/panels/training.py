"""Panel: the training loss, the squared error of the predicted noise."""

import torch

from diffusion_demo.diffusion.denoiser import call_model
from diffusion_demo.diffusion.losses import mean_flat
from diffusion_demo.ui.inspect.panels import html
from diffusion_demo.ui.inspect.panels.scene import Scene

NUM_DRAWS = 16
LATEX = (
    r"L_{\mathrm{simple}} = \mathbb{E}_{t, x_0, \epsilon}"
    r"\left\|\epsilon - \epsilon_\theta(\sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\epsilon,\ t)\right\|^2"
)


def show(scene: Scene) -> str:
    """Return the HTML of the panel."""
    eps = scene.p(scene.xt, scene.index, clip=False).eps
    difference = (eps - scene.eps) ** 2
    error_map = difference.mean(1, keepdim=True).expand_as(scene.x0)
    mean, error = estimate_loss(scene)
    return html.panel(
        "In training, the network is given x<sub>t</sub> and predicts the noise in it. "
        "The squared error of that prediction is the loss.",
        LATEX,
        "DDPM, Equation 14 and Algorithm 1",
        html.image_row(
            {
                "x<sub>t</sub>": scene.xt,
                "ε, the noise": scene.eps / 3,
                "ε<sub>θ</sub>, predicted": eps / 3,
                "error": 2 * error_map / error_map.max() - 1,
            }
        ),
        f'<p class="found">At t = {scene.t} the squared error is <b>{float(difference.mean()):.4f}</b> for this noise, '
        f'and <b class="simple">{html.measured(mean, error)}</b> over {NUM_DRAWS} draws. '
        "Always guessing zero would score 1.</p>",
    )


@torch.no_grad()
def estimate_loss(scene: Scene) -> tuple[float, float]:
    """Return L_simple of the image at t: its mean over NUM_DRAWS noise samples, and the standard error of the mean."""
    eps = scene.draws(NUM_DRAWS, salt=3)
    xt = scene.chain.q_sample(scene.x0.expand_as(eps).contiguous(), scene.index, eps)
    output = call_model(scene.model, scene.chain, xt, scene.index, **scene.labels(NUM_DRAWS))
    predicted = scene.chain.p(output, xt, scene.index, clip=False).eps
    errors = mean_flat((predicted - eps) ** 2)
    return float(errors.mean()), float(errors.std() / NUM_DRAWS**0.5)
