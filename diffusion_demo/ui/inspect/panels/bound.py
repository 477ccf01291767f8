"""Panel: the variational bound of one image, term by term."""

from collections.abc import Iterator

import torch

from diffusion_demo.diffusion.likelihood import bound_terms, prior_bits
from diffusion_demo.diffusion.timesteps import spaced_timesteps
from diffusion_demo.ui.inspect.panels import html
from diffusion_demo.ui.inspect.panels.scene import Scene

FEW_STEPS = 25
LATEX = "\n".join(
    [
        r"-\log p_\theta(x_0) \le \underbrace{-\log p_\theta(x_0 \mid x_1)}_{L_0}",
        r"+ \sum_{t>1} \underbrace{D_{\mathrm{KL}}\big("
        r"q(x_{t-1} \mid x_t, x_0)\,\|\,p_\theta(x_{t-1} \mid x_t)\big)}_{L_{t-1}}",
        r"+ \underbrace{D_{\mathrm{KL}}\big(q(x_T \mid x_0)\,\|\,p(x_T)\big)}_{L_T}",
    ]
)


def show(scene: Scene) -> str:
    """Return the HTML of the panel for a chain of FEW_STEPS steps, which takes about a second."""
    terms = list(compute_terms(scene, FEW_STEPS))
    return render(scene, terms, len(terms))


def compute_terms(scene: Scene, steps: int | None) -> Iterator[tuple[int, float]]:
    """Yield (t, term in bits/dim) for a chain of `steps` steps (None: T steps), with t from T down to 1."""
    chain = scene.chain.respaced(spaced_timesteps(len(scene.chain), min(steps or len(scene.chain), len(scene.chain))))
    generator = torch.Generator().manual_seed(scene.seed + 4)

    def noise() -> torch.Tensor:
        return torch.randn(scene.x0.shape, generator=generator).to(scene.x0.device)

    with torch.no_grad():
        for term in bound_terms(scene.model, chain, scene.x0, noise, **scene.labels(1)):
            yield int(chain.timesteps[term.t]) + 1, float(term.bits[0])


def render(scene: Scene, terms: list[tuple[int, float]], steps: int) -> str:
    """Return the HTML for the first terms of a chain of `steps` steps, with the sum if the terms are complete."""
    prior = float(prior_bits(scene.chain, scene.x0)[0])
    first, middle = terms[-1][1], sum(bits for _, bits in terms[:-1])
    rows = [
        ["L<sub>0</sub>, the last step", f"{first:.4f}"],
        ["L<sub>1</sub> to L<sub>T−1</sub>, all others", f"{middle:.4f}"],
        ["L<sub>T</sub>, information left in pure noise", f"{prior:.2g}"],
        ["<b>sum: bits per dimension</b>", f'<b class="total">{first + middle + prior:.4f}</b>'],
    ]
    missing = f'<p class="found">{len(terms):,} of {steps:,} steps, from the noisiest on.</p>'
    return html.panel(
        "How many bits the model needs to encode this image: every wrong guess costs bits. "
        "Lower is better; 8 means no compression.",
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
