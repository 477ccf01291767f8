"""Classifier-free guidance, as a denoiser around a denoiser."""

import torch
from torch import Tensor

from diffusion_demo.diffusion.samplers import Denoiser


def classifier_free(model: Denoiser, scale: float, null_class: int, channels: int) -> Denoiser:
    """eps = eps_u + scale (eps_c - eps_u). Ho and Salimans 2022, Eq. 6, with scale = w + 1.

    scale 1 is the conditional model as it is, 0 the unconditional one. Only the first `channels` outputs are guided: a learned
    variance comes from the conditional call. eps stands for any prediction type, all being linear in eps at a given x_t.
    """

    def guided(xt: Tensor, t: Tensor, class_labels: Tensor) -> Tensor:
        both = model(torch.cat([xt, xt]), torch.cat([t, t]), class_labels=torch.cat([class_labels, torch.full_like(class_labels, null_class)]))
        conditional, unconditional = both.chunk(2)
        eps_c, eps_u = conditional[:, :channels], unconditional[:, :channels]
        return torch.cat([eps_u + scale * (eps_c - eps_u), conditional[:, channels:]], dim=1)

    return model if scale == 1 else guided
