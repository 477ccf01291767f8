"""Guidance: classifier-free, as a denoiser around a denoiser; by a classifier, as a shift of p_theta."""

from collections.abc import Callable

import torch
from torch import Tensor

from diffusion_demo.diffusion.process import Denoiser, Diffusion, Reverse

Gradient = Callable[[Tensor, Tensor], Tensor]
"""scale * grad log p(y | x_t) at (xt [N, C, H, W], t int64 [N])."""


Interval = tuple[int, int]
"""The lowest and the highest t of the network at which guidance acts, both within: Kynkaanniemi et al. 2024."""


def within(t: Tensor, interval: Interval | None) -> bool:
    """Does guidance act at t [N], which is the same in every row?"""
    return interval is None or interval[0] <= int(t[0]) <= interval[1]


def classifier_free(
    model: Denoiser, scale: float, null_class: int | None, channels: int, interval: Interval | None = None
) -> Denoiser:
    """eps = eps_u + scale (eps_c - eps_u). Ho and Salimans 2022, Eq. 6, with scale = w + 1.

    scale 1 is the conditional model as it is, 0 the unconditional one. Only the first `channels` outputs are guided: a learned
    variance comes from the conditional call. eps stands for any prediction type, all being linear in eps at a given x_t.
    Outside `interval` the conditional model answers alone: Kynkaanniemi et al. 2024.
    Raises ValueError for a scale other than 1 without a null class.
    """
    if scale != 1 and null_class is None:
        raise ValueError(
            "a model without a null class cannot be guided without a classifier: take scale 1, or a classifier's gradient"
        )

    def guided(xt: Tensor, t: Tensor, class_labels: Tensor) -> Tensor:
        if not within(t, interval):
            return model(xt, t, class_labels=class_labels)
        both = model(
            torch.cat([xt, xt]),
            torch.cat([t, t]),
            class_labels=torch.cat([class_labels, torch.full_like(class_labels, null_class)]),
        )
        conditional, unconditional = both.chunk(2)
        eps_c, eps_u = conditional[:, :channels], unconditional[:, :channels]
        return torch.cat([eps_u + scale * (eps_c - eps_u), conditional[:, channels:]], dim=1)

    return model if scale == 1 else guided


def classifier_gradient(
    classifier: Callable[[Tensor, Tensor], Tensor], class_labels: Tensor, scale: float, interval: Interval | None = None
) -> Gradient:
    """scale * grad_x log p(y | x_t) of a classifier(xt, t) -> logits [N, classes], at x_t as in the papers' code. ADM section 4.

    Outside `interval` it is 0.
    """

    def gradient(xt: Tensor, t: Tensor) -> Tensor:
        if not within(t, interval):
            return torch.zeros_like(xt)
        with torch.enable_grad():
            x = xt.detach().requires_grad_()
            chosen = torch.log_softmax(classifier(x, t), dim=1)[torch.arange(len(x)), class_labels]
            return scale * torch.autograd.grad(chosen.sum(), x)[0]

    return gradient


def shift_mean(p: Reverse, gradient: Tensor) -> Reverse:
    """mu + Sigma g: classifier guidance of an ancestral step. ADM Algorithm 1."""
    return p._replace(mean=p.mean + p.variance * gradient)


def shift_eps(diffusion: Diffusion, p: Reverse, xt: Tensor, t: int | Tensor, gradient: Tensor) -> Reverse:
    """eps - sqrt(1 - abar_t) g, with x_0 from it, not clipped again: classifier guidance of a DDIM step. ADM Algorithm 2."""
    eps = p.eps - diffusion.gather((1 - diffusion.abar).sqrt(), t, xt) * gradient
    return p._replace(eps=eps, x0=diffusion.x0_from_eps(xt, t, eps))
