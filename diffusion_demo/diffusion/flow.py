"""Flow matching as a diffusion: any chain is the straight path (1 - tau) x_0 + tau eps, rescaled to unit variance.

A point of the path is z_tau = kappa x_t, with kappa = sqrt((1 - tau)^2 + tau^2) and
tau = sqrt(1 - abar) / (sqrt(abar) + sqrt(1 - abar)). The path runs from the data at tau = 0 to noise at tau = 1 with
the constant velocity u = dz/dtau = eps - x_0. On the schedule "flow", tau = (t + 1)/T. The papers write t for tau.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from diffusion_demo.diffusion.denoiser import Denoiser, call_model
from diffusion_demo.diffusion.guidance import Gradient, call_gradient, shift_eps
from diffusion_demo.diffusion.process import DenoisedFn, Diffusion
from diffusion_demo.diffusion.samplers import Noise, Step, reverse_step, take_steps


def flow_time(abar: Tensor) -> Tensor:
    """Return tau in [0, 1], where the path has the signal-to-noise ratio of abar. Lipman et al. 2023 Eq. 22."""
    return (1 - abar).sqrt() / (abar.sqrt() + (1 - abar).sqrt())


def path_scale(abar: Tensor) -> Tensor:
    """Return kappa = sqrt((1 - tau)^2 + tau^2), the length of (1 - tau, tau): z_tau = kappa x_t."""
    return 1 / (abar.sqrt() + (1 - abar).sqrt())


def velocity_from_v(diffusion: Diffusion, xt: Tensor, t: int | Tensor, v: Tensor) -> Tensor:
    """Return u = eps - x_0 = (v - (1 - 2 tau) x_t) / kappa at x_t, [N, C, H, W]. Salimans and Ho 2022, section 4."""
    drift = diffusion.gather(1 - 2 * flow_time(diffusion.abar), t, xt)
    return (v - drift * xt) / diffusion.gather(path_scale(diffusion.abar), t, xt)


def euler_step(
    model: Denoiser,
    diffusion: Diffusion,
    xt: Tensor,
    t: int,
    noise: Noise,
    *,
    clip: bool = True,
    denoised_fn: DenoisedFn | None = None,
    gradient: Gradient | None = None,
    **condition: Any,
) -> Step:
    """Take one Euler step along the straight path, z_{tau'} = z_tau + (tau' - tau) u, from x_t to x_{t-1}.

    Liu et al. 2023 Eq. 1. u is computed from v if the network predicts v and nothing changes its x_0, otherwise it is
    eps - x_0. The step is that of DDIM with eta = 0, up to rounding, on every schedule. `noise` is never called.
    Raises as ddim_step does.
    """
    output = call_model(model, diffusion, xt, t, **condition)
    p = diffusion.p(output, xt, t, clip, denoised_fn)
    if gradient:
        p = shift_eps(diffusion, p, xt, t, call_gradient(gradient, diffusion, xt, t))
    if diffusion.prediction_type == "v_prediction" and not (clip or denoised_fn or gradient):
        velocity = velocity_from_v(diffusion, xt, t, diffusion.split_output(output, xt)[0])
    else:
        velocity = p.eps - p.x0
    if t == 0:
        return reverse_step(diffusion, t, p.x0, p.x0)
    tau, scale = flow_time(diffusion.abar[t - 1 : t + 1]), path_scale(diffusion.abar[t - 1 : t + 1])
    z = float(scale[1]) * xt + float(tau[0] - tau[1]) * velocity
    return reverse_step(diffusion, t, z / float(scale[0]), p.x0)


def euler(model: Denoiser, diffusion: Diffusion, xT: Tensor, noise: Noise, **options: Any) -> Iterator[Step]:
    """Sample by the Euler method in tau: euler_step for t = T-1 ... 0. Liu et al. 2023 Eq. 1."""
    return take_steps(euler_step, model, diffusion, xT, noise, **options)
