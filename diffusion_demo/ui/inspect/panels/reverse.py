"""Panel: one reverse step, the posterior q(x_{t-1} | x_t, x_0) compared with p_theta(x_{t-1} | x_t)."""

import math

import torch
from torch import Tensor

from diffusion_demo.diffusion.losses import decoder_term, kl_term, mean_flat
from diffusion_demo.diffusion.process import Gaussian, Reverse
from diffusion_demo.ui.inspect.panels import html
from diffusion_demo.ui.inspect.panels.scene import Scene

LATEX = r"L_{t-1} = D_{\mathrm{KL}}\big(q(x_{t-1} \mid x_t, x_0)\ \|\ p_\theta(x_{t-1} \mid x_t)\big)"
LAST_STEP_LATEX = r"L_0 = -\log p_\theta(x_0 \mid x_1)"


def show(scene: Scene) -> str:
    """Return the HTML of the panel."""
    xt, chain, i = scene.xt, scene.chain, scene.index
    p, q = scene.p(xt, i), chain.q_posterior(scene.x0, xt, i)
    bits = float(kl_term(q, p)[0] if i else decoder_term(p, scene.x0)[0])
    error = 127.5 * float(mean_flat((p.x0 - scene.x0) ** 2)[0]) ** 0.5
    deviation = torch.exp(0.5 * p.log_variance).expand_as(p.mean)
    small, large = (
        chain.gather(table, i, xt).sqrt().item() for table in (chain.posterior_variance, chain.large_variance)
    )
    learned = {"learned": "learned", "learned_range": "learned"}.get(chain.variance_type, "this model's, fixed")
    rows = [
        ["small, β̃<sub>t</sub>", f"{small:.5f}", "exact if the image were known"],
        ["large, β<sub>t</sub>", f"{large:.5f}", "exact if the image were pure noise"],
        [learned, f"{deviation.mean():.5f}", f"from {deviation.min():.5f} to {deviation.max():.5f} over the pixels"],
    ]
    return html.panel(
        "If the clean image were known, the step back would be a known Gaussian. The network does not know it: "
        "it predicts the noise, infers the image, and steps as if that were correct.",
        LATEX if i else LAST_STEP_LATEX,
        "DDPM, Equations 5 to 7; Improved DDPM, Equation 15",
        html.image_row(
            {"x<sub>t</sub>, the input": xt, "predicted x<sub>0</sub>": p.x0, "the true x<sub>0</sub>": scene.x0}
        ),
        f'<p class="found">At t = {scene.t} the predicted image is off by <b>{error:.1f}</b> of 255 gray levels, '
        f'and the step costs <b class="bits">{bits:.3g}</b> bits per dimension (L<sub>{i}</sub>).</p>',
        html.table(["standard deviation of the step", "", ""], rows),
        _pixel_plot(scene.pixel, q, p, deviation),
    )


def _pixel_plot(pixel: tuple[int, int, int, int], q: Gaussian, p: Reverse, deviation: Tensor) -> str:
    """Return the plot of the densities of q and p for one pixel."""
    q_mean, p_mean = float(q.mean[pixel]), float(p.mean[pixel])
    widths = (max(float(q.variance.expand_as(q.mean)[pixel]) ** 0.5, 1e-4), max(float(deviation[pixel]), 1e-4))
    low, high = min(q_mean - 4 * widths[0], p_mean - 4 * widths[1]), max(q_mean + 4 * widths[0], p_mean + 4 * widths[1])
    grid = [low + (high - low) * i / 200 for i in range(201)]
    lines = {
        name: [(x, math.exp(-(((x - mean) / width) ** 2) / 2) / width / math.sqrt(2 * math.pi)) for x in grid]
        for name, mean, width in (("q, knowing the image", q_mean, widths[0]), ("p, the network's", p_mean, widths[1]))
    }
    return html.plot(lines, "the chosen pixel, one step back")
