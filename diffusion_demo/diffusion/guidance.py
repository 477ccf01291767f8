"""Classifier-free guidance, which wraps a denoiser, and classifier guidance, which shifts p_theta."""

from collections.abc import Callable

import torch
from torch import Tensor

from diffusion_demo.diffusion.denoiser import Denoiser, Interval, WithinInterval, at_index
from diffusion_demo.diffusion.process import Diffusion, Reverse

Gradient = Callable[[Tensor, Tensor], Tensor]
"""Callable(xt [N, C, H, W], t [N]) -> scale * grad log p(y | x_t), [N, C, H, W]."""


def classifier_free(
    model: Denoiser, scale: float, null_class: int | None, channels: int, interval: Interval | None = None
) -> Denoiser:
    """Return a denoiser that predicts eps = eps_u + scale (eps_c - eps_u). Ho and Salimans 2022, Eq. 6.

    scale = w + 1 of the paper: 1 is the conditional model, 0 the unconditional one. Only the first `channels` output
    channels are guided; a learned variance is that of the conditional call. The formula holds for every prediction
    type, because each is linear in eps at a given x_t. Outside `interval` the conditional model is called alone.
    Kynkaanniemi et al. 2024.

    Raises ValueError for a scale other than 1 without a null class.
    """
    if scale == 1:
        return model
    if null_class is None:
        raise ValueError("classifier-free guidance needs a model with a null class; use scale 1 or a classifier")

    def guided(xt: Tensor, t: Tensor, class_labels: Tensor) -> Tensor:
        both = model(
            torch.cat([xt, xt]),
            torch.cat([t, t]),
            class_labels=torch.cat([class_labels, torch.full_like(class_labels, null_class)]),
        )
        conditional, unconditional = both.chunk(2)
        eps_c, eps_u = conditional[:, :channels], unconditional[:, :channels]
        return torch.cat([eps_u + scale * (eps_c - eps_u), conditional[:, channels:]], dim=1)

    return WithinInterval(interval, guided, model) if interval else guided


def classifier_gradient(
    classifier: Callable[[Tensor, Tensor], Tensor], class_labels: Tensor, scale: float, interval: Interval | None = None
) -> Gradient:
    """Return a function that computes scale * grad_x log p(y | x_t) of a noisy-image classifier. ADM section 4.

    classifier(xt, t) returns logits [N, classes]; class_labels is int64 [N]. The gradient is taken at x_t, as in the
    papers' code, and is 0 outside `interval`.
    """

    def gradient(xt: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            x, rows = xt.detach().requires_grad_(), torch.arange(len(xt), device=xt.device)
            log_probability = torch.log_softmax(classifier(x, t), dim=1)[rows, class_labels]
            return scale * torch.autograd.grad(log_probability.sum(), x)[0]

    return WithinInterval(interval, gradient, lambda xt, t: torch.zeros_like(xt)) if interval else gradient


def call_gradient(gradient: Gradient, diffusion: Diffusion, xt: Tensor, t: int | Tensor) -> Tensor:
    """Return the gradient of a classifier at x_t [N, C, H, W] and chain index t, like x_t."""
    return at_index(gradient, diffusion, t)(xt, diffusion.model_timesteps(t, xt))


def shift_mean(p: Reverse, gradient: Tensor) -> Reverse:
    """Return p with mean mu + Sigma g: classifier guidance of an ancestral step. ADM Algorithm 1.

    x_0 and eps stay those of the network, as in the papers' code.
    """
    return p._replace(mean=p.mean + p.variance * gradient)


def shift_eps(diffusion: Diffusion, p: Reverse, xt: Tensor, t: int | Tensor, gradient: Tensor) -> Reverse:
    """Return p with eps - sqrt(1 - abar_t) g, and the x_0 and mean it implies: classifier guidance of a DDIM step.

    x_0 moves by (1 - abar_t) / sqrt(abar_t) g and is not clipped again; the mean is the posterior mean at this x_0. ADM
    Algorithm 2. Where abar_t is 0 (in float32), x_t is independent of the class, and p stays as it is.
    """
    of_x0 = (1 - diffusion.abar) / diffusion.abar.sqrt()
    depends_on_class = of_x0.float().isfinite()
    of_x0, of_eps = torch.where(depends_on_class, of_x0, 0), (1 - diffusion.abar).sqrt() * depends_on_class
    # Solving for x_0 from the shifted eps instead would cancel digits: 8e-3 of x_0 at t = 999 for a gradient of 0.
    x0 = p.x0 + diffusion.gather(of_x0, t, xt) * gradient
    eps = p.eps - diffusion.gather(of_eps, t, xt) * gradient
    return p._replace(mean=diffusion.q_posterior(x0, xt, t).mean, x0=x0, eps=eps)
