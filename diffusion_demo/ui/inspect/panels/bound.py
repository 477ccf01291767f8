"""The variational bound of one image, term by term."""

from collections.abc import Iterator

import torch

from diffusion_demo.diffusion.likelihood import bound_terms, prior_bits
from diffusion_demo.diffusion.timesteps import spaced_timesteps
from diffusion_demo.ui.inspect.panels import html
from diffusion_demo.ui.inspect.panels.scene import Scene

QUICK = 25
LATEX = "\n".join(
    [
        r"-\log p_\theta(x_0) \le \underbrace{-\log p_\theta(x_0 \mid x_1)}_{L_0}",
        r"+ \sum_{t>1} \underbrace{D_{\mathrm{KL}}\big(q(x_{t-1} \mid x_t, x_0)\,\|\,p_\theta(x_{t-1} \mid x_t)\big)}_{L_{t-1}}",
        r"+ \underbrace{D_{\mathrm{KL}}\big(q(x_T \mid x_0)\,\|\,p(x_T)\big)}_{L_T}",
    ]
)


def show(scene: Scene) -> str:
    """The bound on a chain of few steps, which takes a second."""
    terms = list(terms_of(scene, QUICK))
    return shown(scene, terms, len(terms))


def terms_of(scene: Scene, steps: int | None) -> Iterator[tuple[int, float]]:
    """(t as the page counts it, L_t in bits/dim) from the noisiest on, on a chain of so many steps (None: all)."""
    chain = scene.chain.respaced(spaced_timesteps(len(scene.chain), min(steps or len(scene.chain), len(scene.chain))))
    generator = torch.Generator().manual_seed(scene.seed + 4)

    def noise() -> torch.Tensor:
        return torch.randn(scene.x0.shape, generator=generator).to(scene.x0.device)

    with torch.no_grad():
        for term in bound_terms(scene.model, chain, scene.x0, noise, **scene.labels(1)):
            yield int(chain.timesteps[term.t]) + 1, float(term.bits[0])


def shown(scene: Scene, terms: list[tuple[int, float]], steps: int) -> str:
    """The panel from the terms that are there, of so many steps: without its sum while some are missing."""
    prior = float(prior_bits(scene.chain, scene.x0)[0])
    first, middle = terms[-1][1], sum(bits for _, bits in terms[:-1])
    rows = [
        ["L<sub>0</sub>, the last step", f"{first:.4f}"],
        ["L<sub>1</sub> to L<sub>T−1</sub>, all others", f"{middle:.4f}"],
        ["L<sub>T</sub>, what pure noise still knows", f"{prior:.2g}"],
        ["<b>sum: bits per dimension</b>", f'<b class="total">{first + middle + prior:.4f}</b>'],
    ]
    missing = f'<p class="found">{len(terms):,} of {steps:,} steps, from the noisiest on.</p>'
    return html.panel(
        "How many bits the model needs to send this image: each step pays for what it guessed wrong. Fewer is better; 8 is no model at all.",
        LATEX,
        f"DDPM, Equation 5; here on a chain of {steps:,} steps",
        html.plot(
            {"bits per dimension of each step": [(t, max(bits, 1e-9)) for t, bits in reversed(terms)]},
            "t",
            log=True,
            cursor=scene.t,
        ),
        missing if len(terms) < steps else html.table(["part", ""], rows),
    )
