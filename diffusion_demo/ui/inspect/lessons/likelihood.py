"""Lesson 5: the variational bound of one image, term by term, and the decoder of its last step."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from diffusion_demo.diffusion.denoiser import call_model
from diffusion_demo.diffusion.likelihood import bound_terms, prior_bits
from diffusion_demo.diffusion.losses import decoder_log_likelihood, decoder_term
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.timesteps import spaced_timesteps
from diffusion_demo.ui.charts import chart
from diffusion_demo.ui.inspect.explorer_data import SIZE
from diffusion_demo.ui.inspect.lessons import html
from diffusion_demo.ui.inspect.lessons.scene import Scene

FEW_STEPS, SHOWN_VALUES = 25, 40
LEAST_BITS = 1e-9  # the bottom of the logarithmic chart
LATEX = "\n".join(
    [
        r"-\log p_\theta(x_0) \le \underbrace{-\log p_\theta(x_0 \mid x_1)}_{L_0}",
        r"+ \sum_{t>1} \underbrace{D_{\mathrm{KL}}\big("
        r"q(x_{t-1} \mid x_t, x_0)\,\|\,p_\theta(x_{t-1} \mid x_t)\big)}_{L_{t-1}}",
        r"+ \underbrace{D_{\mathrm{KL}}\big(q(x_T \mid x_0)\,\|\,p(x_T)\big)}_{L_T}",
    ]
)
_FEW = (
    "This is the bound of a sampler with {steps} long steps, from one noise sample. For images unlike the training "
    "data it can be far above the bound over all steps, which the button below measures. "
)
_SIZES = f"L<sub>T</sub> is for the image at {{size}}x{{size}}, so it differs a little from lesson 1, at {SIZE}x{SIZE}."
DECODER_LATEX = (
    r"p_\theta(x_0 \mid x_1) = \prod_i \int_{\delta_-(x_0^i)}^{\delta_+(x_0^i)}"
    "\n"
    r"\mathcal{N}\big(x;\ \mu_\theta^i(x_1, 1),\ \sigma_1^2\big)\,dx"
)


def show(scene: Scene) -> str:
    """Return the figures and numbers of the lesson for a chain of FEW_STEPS steps, which takes about a second."""
    terms = list(compute_terms(scene, FEW_STEPS))
    return render(scene, terms, len(terms))


def compute_terms(scene: Scene, steps: int | None) -> Iterator[tuple[int, float]]:
    """Yield (t, term in bits/dim) for a chain of `steps` steps (None: T steps), with t from T down to 1.

    All terms use the noise of the scene, so they agree with lesson 3, and L_0 with the decoder below.
    """
    chain = _chain(scene, steps)
    with torch.no_grad():
        for term in bound_terms(scene.model, chain, scene.x0, lambda: scene.eps, **scene.labels(1)):
            yield int(chain.timesteps[term.t]) + 1, float(term.bits[0])


def _chain(scene: Scene, steps: int | None) -> Diffusion:
    total = len(scene.chain)
    return scene.chain.respaced(spaced_timesteps(total, min(steps or total, total)))


def render(scene: Scene, terms: list[tuple[int, float]], steps: int) -> str:
    """Return the HTML for the first terms of a chain of `steps` steps, with the sum if the terms are complete."""
    ascending = sorted(terms)
    nearest_t, bits = min(ascending, key=lambda term: abs(term[0] - scene.t))
    total = len(scene.chain)
    nearest = f" That is the step nearest to t = {scene.t}." if nearest_t != scene.t else ""
    at_t = f"At t = {nearest_t} the reverse step costs <b>{html.short(bits)}</b> bits per dimension.{nearest}"
    is_reached = len(terms) == steps or ascending[0][0] <= scene.t
    missing = f'<p class="found">{len(terms):,} of {steps:,} steps, starting with the noisiest.</p>'
    return (
        html.equation(
            LATEX,
            at_t if is_reached else "",
            f"DDPM, Equation 5; here in {steps:,} steps"
            + (f", each as long as {total / steps:.3g} of the model's {total:,}" if steps < total else ""),
        )
        + chart(
            "Bits of each step over t",
            [t for t, _ in ascending],
            {"bits per dimension of each step": [max(bits, LEAST_BITS) for _, bits in ascending]},
            "t",
            "bits per dimension",
            log=True,
            mark=nearest_t if is_reached else None,
        )
        + (missing if len(terms) < steps else _sum_table(scene, terms))
        + html.computation("whole-bound", "Measure over all steps") * (steps < total or len(terms) < steps)
        + ("" if len(terms) < steps else _decoder_part(scene, steps))
    )


def _sum_table(scene: Scene, terms: list[tuple[int, float]]) -> str:
    prior = float(prior_bits(scene.chain, scene.x0)[0])
    first, middle = terms[-1][1], sum(bits for _, bits in terms[:-1])
    rows = [
        ["L<sub>0</sub>, decoding to pixels", f"{first:.4f}"],
        ["L<sub>1</sub> to L<sub>T−1</sub>, all other steps", f"{middle:.4f}"],
        ["L<sub>T</sub>, information left in x<sub>T</sub>", html.short(prior)],
        ["<b>sum</b>", f'<b class="total">{first + middle + prior:.4f}</b>'],
    ]
    few, size = len(terms) < len(scene.chain), scene.x0.shape[-1]
    return html.table(["term", "bits per dimension"], rows) + (
        f'<p class="found">{_FEW.format(steps=len(terms)) * few}Above 8, storing the raw pixels takes fewer bits. '
        f"{_SIZES.format(size=size) * (size != SIZE)}</p>"
    )


def _decoder_part(scene: Scene, steps: int) -> str:
    """Return the discrete decoder of the last step, which gives each of the 256 values of a pixel a probability."""
    chain = _chain(scene, steps)
    x1 = chain.q_sample(scene.x0, 0, scene.eps)
    with torch.no_grad():
        p = chain.p(call_model(scene.model, chain, x1, 0, **scene.labels(1)), x1, 0)
    pixel = scene.pixel
    probability = pixel_probabilities(float(p.mean[pixel]), float(p.log_variance.expand_as(p.mean)[pixel]))
    true = round((float(scene.x0[pixel]) + 1) * 127.5)
    first = min(max(0, int(probability.argmax()) - SHOWN_VALUES // 2), 256 - SHOWN_VALUES)
    values = list(range(first, first + SHOWN_VALUES))
    bits = -math.log2(max(float(probability[true]), 1e-12))
    image = html.image_row({"The image, with the chosen pixel marked": scene.x0}, marked=pixel)
    value_name = "red value of the chosen pixel" if scene.x0.shape[1] == 3 else "value of the chosen pixel"
    return html.part(
        "L<sub>0</sub>: from a Gaussian to whole pixel values",
        html.equation(
            DECODER_LATEX,
            f"The {value_name} is <b>{true}</b> (the bar from {true} to {true + 1}), to which the last step gives a "
            f"probability of <b>{float(probability[true]):.3f}</b>: {bits:.2f} bits. Over the whole image that is "
            f'L<sub>0</sub> = <b class="decoder">{float(decoder_term(p, scene.x0)[0]):.4f}</b> bits per dimension.',
            "DDPM, Equation 13: the discrete decoder",
        ),
        f'<div class="beside">{image}',
        chart(
            "Probability of each value of the chosen pixel",
            values,
            {"probability": [float(probability[value]) for value in values]},
            f"{value_name}, 0 to 255",
            "probability",
            mark=true + 0.5,  # the middle of its bar
            steps=True,
        ),
        "</div>",
    )


def pixel_probabilities(mean: float, log_variance: float) -> Tensor:
    """Return the probability of each of the 256 values of one pixel, float64 [256]."""
    values = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    return decoder_log_likelihood(
        values, torch.tensor(mean, dtype=torch.float64), torch.tensor(0.5 * log_variance, dtype=torch.float64)
    ).exp()
