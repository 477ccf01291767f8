"""Lesson 4: the training loss, and the same error seen as that of eps, x_0 and v."""

import torch

from diffusion_demo.diffusion.denoiser import call_model
from diffusion_demo.diffusion.losses import mean_flat
from diffusion_demo.ui.charts import chart
from diffusion_demo.ui.inspect.lessons import html
from diffusion_demo.ui.inspect.lessons.scene import Scene

NUM_DRAWS, CURVE_POINTS = 16, 24
LEAST_ERROR = 1e-6  # the bottom of the logarithmic chart
LATEX = (
    "L_{\\mathrm{simple}} = \\mathbb{E}_{t, x_0, \\varepsilon}\n"
    r"\left\|\varepsilon - \varepsilon_\theta"
    r"(\sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\varepsilon,\ t)\right\|^2"
)
TARGETS = {
    "epsilon": "ε",
    "sample": "x<sub>0</sub>",
    "v_prediction": "v = √ᾱ<sub>t</sub> ε − √(1&nbsp;−&nbsp;ᾱ<sub>t</sub>) x<sub>0</sub>",
    "previous": "the mean of x<sub>t−1</sub>",
}


def show(scene: Scene) -> str:
    """Return the figures and numbers of the lesson."""
    eps = scene.p(scene.xt, scene.index, clip=False).eps
    difference = (eps - scene.eps) ** 2
    error_map = difference.mean(1, keepdim=True).expand_as(scene.x0)
    mean, error = estimate_loss(scene)
    ts, network, optimal = error_curves(scene)
    between = " The network lies in between: it generalizes." if scene.denoiser_name == "network" else ""
    return (
        html.equation(
            LATEX,
            f"At t = {scene.t} the squared error is <b>{float(difference.mean()):.4f}</b> for this noise, and "
            f'<b class="simple">{html.measured(mean, error)}</b> over {NUM_DRAWS} draws. '
            f"These are means per value. Always guessing zero would score 1.{_extremes(scene, mean)}{_target(scene)}",
            "DDPM, Equation 14 and Algorithm 1",
        )
        + html.image_row(
            {
                f"x<sub>{scene.t}</sub>, the input": scene.xt,
                "ε, the noise that was added": scene.eps / 3,
                "ε<sub>θ</sub>, the prediction": eps / 3,
                "Squared error (white: largest)": 2 * error_map / error_map.max() - 1,
            }
        )
        + html.part("One guess, three errors", _targets_table(scene))
        + html.part(
            "The error over t, for this image",
            chart(
                "Squared error of eps over t",
                ts,
                {scene.denoiser_name: network, "optimal denoiser of the sixteen images": optimal},
                "t",
                "squared error of ε",
                log=True,
                mark=scene.t,
            ),
            '<p class="found">The optimal denoiser knows only its sixteen images. On one of them its error falls to 0 '
            f"(drawn at 10⁻⁶), which is memorization; on any other image it is large.{between}</p>",
        )
    )


def _extremes(scene: Scene, error: float) -> str:
    """Return why the error is above that of guessing zero at the lowest noise, and almost 0 at the highest."""
    if error > 1:
        return " Here guessing zero is better: there is too little noise to be seen."
    is_noise = error < 5e-5 and float(scene.chain.abar[scene.index]) < 0.01
    return " Here x<sub>t</sub> is almost the noise itself, so there is nothing to guess." if is_noise else ""


def _target(scene: Scene) -> str:
    """Return what the model predicts, unless it is the noise."""
    kind = scene.chain.prediction_type
    return "" if kind == "epsilon" else f" This model predicts {TARGETS[kind]}, from which ε follows."


@torch.no_grad()
def estimate_loss(scene: Scene) -> tuple[float, float]:
    """Return L_simple of the image at t: its mean over NUM_DRAWS noise samples, and the standard error of the mean."""
    eps = scene.draws(NUM_DRAWS, salt=3)
    xt = scene.chain.q_sample(scene.x0.expand_as(eps).contiguous(), scene.index, eps)
    output = call_model(scene.model, scene.chain, xt, scene.index, **scene.labels(NUM_DRAWS))
    predicted = scene.chain.p(output, xt, scene.index, clip=False).eps
    errors = mean_flat((predicted - eps) ** 2)
    return float(errors.mean()), float(errors.std() / NUM_DRAWS**0.5)


@torch.no_grad()
def target_errors(scene: Scene) -> dict[str, float]:
    """Return the mean squared errors of the prediction seen as eps, x_0 and v. Salimans and Ho 2022, section 4.

    They are abar_t, 1 - abar_t and 1 times that of v, because x_t is known.
    """
    chain, xt, i = scene.chain, scene.xt, scene.index
    p = scene.p(xt, i, clip=False)
    v, true_v = chain.v_from_x0_eps(p.x0, i, p.eps), chain.v_from_x0_eps(scene.x0, i, scene.eps)
    pairs = {"epsilon": (p.eps, scene.eps), "sample": (p.x0, scene.x0), "v_prediction": (v, true_v)}
    return {name: float(((a - b) ** 2).mean()) for name, (a, b) in pairs.items()}


@torch.no_grad()
def error_curves(scene: Scene) -> tuple[list[int], list[float], list[float]]:
    """Return t in 1 .. T, and the squared errors of eps there: the network's and the optimal denoiser's."""
    chain, last = scene.chain, len(scene.chain) - 1
    indices = sorted({round(k * last / (CURVE_POINTS - 1)) for k in range(CURVE_POINTS)})
    t = torch.tensor(indices)
    eps = scene.draws(len(indices), salt=9)
    xt = chain.q_sample(scene.x0.expand_as(eps).contiguous(), t, eps)
    predicted = chain.p(call_model(scene.model, chain, xt, t, **scene.labels(len(indices))), xt, t, clip=False).eps
    optimal = torch.cat([scene.optimal_x0(xt[k : k + 1], i) for k, i in enumerate(indices)])
    curves = (predicted, chain.eps_from_x0(xt, t, optimal))
    network, best = (mean_flat((curve - eps) ** 2).clamp(min=LEAST_ERROR).tolist() for curve in curves)
    return [i + 1 for i in indices], network, best


def _targets_table(scene: Scene) -> str:
    abar, errors = float(scene.chain.abar[scene.index]), target_errors(scene)
    factors = {"epsilon": f"ᾱ<sub>t</sub> = {abar:.4f}", "sample": f"1 − ᾱ<sub>t</sub> = {1 - abar:.4f}"}
    rows = [
        [
            f"{TARGETS[name]}{', which this model predicts' if name == scene.chain.prediction_type else ''}",
            f'<span class="error-{name}">{value:.5f}</span>',
            f"{factors[name]} times the error of v" if name in factors else "",
        ]
        for name, value in errors.items()
    ]
    return html.table(["prediction read as", "squared error", ""], rows)
