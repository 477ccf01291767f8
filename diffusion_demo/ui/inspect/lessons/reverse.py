"""Lesson 3: one reverse step, the posterior q(x_{t-1} | x_t, x_0) compared with p_theta(x_{t-1} | x_t)."""

import math

import torch
from torch import Tensor

from diffusion_demo.diffusion.losses import decoder_term, kl_term, mean_flat
from diffusion_demo.diffusion.process import Gaussian, Reverse
from diffusion_demo.ui.charts import chart
from diffusion_demo.ui.inspect.lessons import html
from diffusion_demo.ui.inspect.lessons.scene import Scene

LATEX = "\n".join(
    [
        r"p_\theta(x_{t-1} \mid x_t) = \mathcal{N}\big(\mu_\theta,\ \Sigma_\theta\big),",
        r"\mu_\theta = \frac{\sqrt{\bar\alpha_{t-1}}\,\beta_t}{1-\bar\alpha_t}\,\hat{x}_0",
        r"+ \frac{\sqrt{1-\beta_t}\,(1-\bar\alpha_{t-1})}{1-\bar\alpha_t}\,x_t",
    ]
)

ROUNDING = 1e-9  # bits per dimension


def show(scene: Scene) -> str:
    """Return the figures and numbers of the lesson."""
    xt, chain, i = scene.xt, scene.chain, scene.index
    p, q = scene.p(xt, i), chain.q_posterior(scene.x0, xt, i)
    optimal = scene.optimal_x0(xt, i)
    errors = [127.5 * float(mean_flat((x0 - scene.x0) ** 2)[0]) ** 0.5 for x0 in (p.x0, optimal)]
    off = f"<b class='off'>{errors[0]:.1f}</b>"
    deviation = torch.exp(0.5 * p.log_variance).expand_as(p.mean)
    return (
        html.equation(
            LATEX,
            f"μ<sub>θ</sub> = <b>{float(chain.posterior_coef_x0[i]):.5f}</b> x̂<sub>0</sub> + "
            f"<b>{float(chain.posterior_coef_xt[i]):.5f}</b> x<sub>{scene.t}</sub>, with standard deviation "
            f"{deviation.mean():.5f}",
            "DDPM, Equations 1 and 7",
        )
        + html.image_row(
            {
                f"x<sub>{scene.t}</sub>, the input": xt,
                f"x̂<sub>0</sub>, predicted by the {scene.denoiser_name}: off by {off} of 255 (RMS)": p.x0,
                f"Predicted by the optimal denoiser of the sixteen images: off by {errors[1]:.1f} of 255": optimal,
                "The true x<sub>0</sub>": scene.x0,
                "The sixteen images": scene.known,
            },
            marked=scene.pixel,
        )
        + _words(scene, p, q)
        + _deviations(scene, deviation)
        + html.part(
            "The step for one pixel",
            '<p class="found">The pixel is marked in the images above and chosen at the end of this lesson. Where q '
            "and p coincide, the step costs nothing.</p>",
            _pixel_chart(scene, q, p, deviation),
        )
        + html.computation("regenerate", "Take all steps from here")
    )


def _words(scene: Scene, p: Reverse, q: Gaussian) -> str:
    weight = float(scene.chain.posterior_coef_x0[scene.index])
    bits = float(kl_term(q, p)[0] if scene.index else decoder_term(p, scene.x0)[0])
    cost = f'<b class="bits">{html.short(bits)}</b> bits per dimension (L<sub>{scene.index}</sub>)'
    last = (
        f"The step from t = 1 gives each pixel value a probability. Storing the image with these costs {cost}, because "
        "the noise of the step spreads over several values (lesson 5)."
    )
    other = (
        f"Because the guess is not exact, this step costs {cost}: little where x̂<sub>0</sub> has little weight in the "
        f"step, here {html.short(weight)}."
        if bits > ROUNDING
        else f"The guess is right, so this step costs nothing but rounding: {cost}."
    )
    network = " The network is less exact on these sixteen, but it also works for new images like its training data."
    return (
        f'<p class="found">{other if scene.index else last} The optimal denoiser knows nothing but the sixteen images. '
        "It answers with one of them as soon as it can tell them apart: perfect for those, wrong for every "
        f"other.{network * (scene.denoiser_name != 'exact model')}</p>"
    )


def _deviations(scene: Scene, deviation: Tensor) -> str:
    chain = scene.chain
    small, large = (
        chain.gather(table, scene.index, deviation).sqrt().item()
        for table in (chain.posterior_variance, chain.large_variance)
    )
    rows = [
        ["small, √β̃<sub>t</sub>", f"{small:.5f}", "exact if the image were known"],
        ["large, √β<sub>t</sub>", f"{large:.5f}", "exact if the image were pure noise"],
        [
            "learned" if chain.learns_variance else "this model's, fixed",
            f"{deviation.mean():.5f}",
            f"from {deviation.min():.5f} to {deviation.max():.5f} over the pixels"
            if chain.learns_variance
            else "the same for all pixels",
        ],
    ]
    return html.table(["standard deviation of the step", "", ""], rows)


def _pixel_chart(scene: Scene, q: Gaussian, p: Reverse, deviation: Tensor) -> str:
    """Return the chart of the densities of q and p for one pixel."""
    pixel = scene.pixel
    q_mean, p_mean = float(q.mean[pixel]), float(p.mean[pixel])
    widths = (max(float(q.variance.expand_as(q.mean)[pixel]) ** 0.5, 1e-4), max(float(deviation[pixel]), 1e-4))
    low, high = min(q_mean - 4 * widths[0], p_mean - 4 * widths[1]), max(q_mean + 4 * widths[0], p_mean + 4 * widths[1])
    grid = [low + (high - low) * i / 200 for i in range(201)]
    lines = {
        name: [math.exp(-(((x - mean) / width) ** 2) / 2) / width / math.sqrt(2 * math.pi) for x in grid]
        for name, mean, width in (
            ("q, knowing the image", q_mean, widths[0]),
            (f"p, the {scene.denoiser_name}'s", p_mean, widths[1]),
        )
    }
    label = "Densities of the reverse step for one pixel"
    return chart(label, grid, lines, "value of the pixel after the step", "density")
