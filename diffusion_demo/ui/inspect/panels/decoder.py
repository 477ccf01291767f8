"""Panel: the discrete decoder of the last step, which assigns a probability to each of the 256 values of a pixel."""

import math

import torch
from torch import Tensor

from diffusion_demo.diffusion.losses import decoder_log_likelihood, decoder_term
from diffusion_demo.ui.inspect.panels import html
from diffusion_demo.ui.inspect.panels.scene import Scene

SHOWN_VALUES = 40
LATEX = (
    r"p_\theta(x_0 \mid x_1) = \prod_i \int_{\delta_-(x_0^i)}^{\delta_+(x_0^i)} "
    r"\mathcal{N}\big(x;\ \mu_\theta^i(x_1, 1),\ \sigma_1^2\big)\,dx"
)


def show(scene: Scene) -> str:
    """Return the HTML of the panel."""
    x1 = scene.chain.q_sample(scene.x0, 0, scene.eps)
    p = scene.p(x1, 0)
    pixel = scene.pixel
    probability = pixel_probabilities(float(p.mean[pixel]), float(p.log_variance.expand_as(p.mean)[pixel]))
    true = round((float(scene.x0[pixel]) + 1) * 127.5)
    first = min(max(0, int(probability.argmax()) - SHOWN_VALUES // 2), 256 - SHOWN_VALUES)
    steps = [
        (value + edge, float(probability[value]))
        for value in range(first, first + SHOWN_VALUES)
        for edge in (-0.5, 0.5)
    ]
    bits = -math.log2(max(float(probability[true]), 1e-12))
    return html.panel(
        "Pixels are whole numbers from 0 to 255. The last step cuts its Gaussian into 256 bins, "
        "so that the bound measures real images, in bits.",
        LATEX,
        "DDPM, Equation 13: the discrete decoder",
        html.plot({"probability of each value": steps}, "value of the chosen pixel", cursor=float(true)),
        f'<p class="found">The chosen pixel is <b>{true}</b>, to which the last step gives a probability of '
        f"<b>{float(probability[true]):.3f}</b>: {bits:.2f} bits. Over the whole image L<sub>0</sub> is "
        f"<b>{float(decoder_term(p, scene.x0)[0]):.3f}</b> bits per dimension.</p>",
    )


def pixel_probabilities(mean: float, log_variance: float) -> Tensor:
    """Return the probability of each of the 256 values of one pixel, float64 [256]."""
    values = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    return decoder_log_likelihood(
        values, torch.tensor(mean, dtype=torch.float64), torch.tensor(0.5 * log_variance, dtype=torch.float64)
    ).exp()
