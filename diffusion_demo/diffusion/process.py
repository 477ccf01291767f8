"""The forward process q, its posterior, and the learned reverse process p_theta.

x0, xt and eps are float tensors [N, C, H, W]. t is an int or an int64 tensor [N] of indices into the chain, 0 .. T-1.
Tables are float64 [T]. Coefficients are computed in float64 and cast to the dtype of x last, because float32 tables
lose precision at the end of a cosine schedule.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion_demo.diffusion.schedules import alphas_cumprod, betas_from_alphas_cumprod

PREDICTION_TYPES = ("epsilon", "sample", "v_prediction", "previous")
VARIANCE_TYPES = ("fixed_small", "fixed_large", "learned", "learned_range")

DenoisedFn = Callable[[Tensor], Tensor]
"""Callable that changes the predicted x0 [N, C, H, W] before it is clipped: `denoised_fn` in the papers' code."""


class Gaussian(NamedTuple):
    """A diagonal Gaussian with mean [N, C, H, W]; variance and log_variance broadcast against it."""

    mean: Tensor
    variance: Tensor
    log_variance: Tensor


class Reverse(NamedTuple):
    """p_theta(x_{t-1} | x_t), with the predicted x0 (clipped if requested) and the eps that corresponds to it."""

    mean: Tensor
    variance: Tensor
    log_variance: Tensor
    x0: Tensor
    eps: Tensor


@dataclass(frozen=True, eq=False)
class Diffusion:
    """A chain of T noise levels, and the parameterization of the network output.

    betas            float64 [T], each in (0, 1], and large enough that 1 - beta is below 1 in float64
    prediction_type  the first C output channels: epsilon | sample (x0) | v_prediction | previous (the mean of x_{t-1})
    variance_type    fixed_small | fixed_large, or, with C more output channels, learned (the log variance) |
                     learned_range (interpolation between the two fixed ones)
    timesteps        int64 [T], the original timestep at each index, which respacing preserves; 0 .. T-1 by default
    time_scale       factor of the timesteps that the network receives: 1, or 1000/T where the Improved DDPM code
                     rescales timesteps
    clip_range       bound to which sampling clips the predicted x_0: 1 as in the papers, infinity for no clipping
    """

    betas: Tensor
    prediction_type: str = "epsilon"
    variance_type: str = "fixed_large"
    timesteps: Tensor = None  # pyright: ignore[reportAssignmentType]  # set in __post_init__
    time_scale: float = 1.0
    clip_range: float = 1.0

    def __post_init__(self) -> None:
        if self.betas.ndim != 1 or not bool(((1 - self.betas.double() < 1) & (self.betas <= 1)).all()):
            raise ValueError("betas must be a 1-D tensor of values in (0, 1], large enough that 1 - beta is below 1")
        if self.prediction_type not in PREDICTION_TYPES:
            raise ValueError(
                f"prediction_type must be one of {', '.join(PREDICTION_TYPES)}, not {self.prediction_type!r}"
            )
        if self.variance_type not in VARIANCE_TYPES:
            raise ValueError(f"variance_type must be one of {', '.join(VARIANCE_TYPES)}, not {self.variance_type!r}")
        object.__setattr__(self, "betas", self.betas.double())
        if self.prediction_type == "epsilon" and not self.abar[-1].rsqrt().float().isfinite():
            raise ValueError(
                "abar_T is 0 in float32, so eps does not determine x_0 at the last step; predict x_0 or v instead"
            )
        if self.timesteps is None:
            object.__setattr__(self, "timesteps", torch.arange(len(self.betas)))

    def __len__(self) -> int:
        return len(self.betas)

    @property
    def learns_variance(self) -> bool:
        """Whether the network outputs the variance in C more channels."""
        return self.variance_type in ("learned", "learned_range")

    def respaced(self, indices: Iterable[int]) -> "Diffusion":
        """Return the chain over a subset of indices, with the same abar_t and new betas.

        Improved DDPM section 4, Eq. 19.
        """
        kept = torch.tensor(sorted(set(indices)))
        betas = betas_from_alphas_cumprod(self.abar[kept])
        return replace(self, betas=betas, timesteps=self.timesteps[kept])

    def up_to(self, t: int) -> "Diffusion":
        """Return the chain over the indices 0 .. t, which leads from x_t to x_0."""
        return self.respaced(list(range(t + 1)))

    def model_timesteps(self, t: int | Tensor, xt: Tensor) -> Tensor:
        """Return the timesteps passed to the network for chain index t, [N] on the device of xt [N, C, H, W].

        int64, or float32 if time_scale is not 1.
        """
        steps = self.timesteps[torch.as_tensor(t, device="cpu")].expand(len(xt)).to(xt.device, non_blocking=True)
        return steps if self.time_scale == 1 else steps * self.time_scale

    # Tables, float64 [T]

    @cached_property
    def abar(self) -> Tensor:
        """abar_t = product over s <= t of (1 - beta_s)."""
        return alphas_cumprod(self.betas)

    @cached_property
    def abar_prev(self) -> Tensor:
        """abar_{t-1}, with abar_{-1} = 1."""
        return torch.cat([self.abar.new_ones(1), self.abar[:-1]])

    @cached_property
    def posterior_coef_x0(self) -> Tensor:
        """The weight of x_0 in the posterior mean. DDPM Eq. 7."""
        return self.betas * self.abar_prev.sqrt() / (1 - self.abar)

    @cached_property
    def posterior_coef_xt(self) -> Tensor:
        """The weight of x_t in the posterior mean. DDPM Eq. 7."""
        return (1 - self.abar_prev) * (1 - self.betas).sqrt() / (1 - self.abar)

    @cached_property
    def posterior_variance(self) -> Tensor:
        """beta~_t = (1 - abar_{t-1}) / (1 - abar_t) beta_t, which is 0 at t = 0. DDPM Eq. 7."""
        return (1 - self.abar_prev) / (1 - self.abar) * self.betas

    @cached_property
    def posterior_log_variance(self) -> Tensor:
        """log beta~_t, with the value of t = 1 at t = 0 (instead of log 0), as in the papers' code."""
        return self._first_from_second(self.posterior_variance).log()

    @cached_property
    def large_variance(self) -> Tensor:
        """Variance of type "fixed_large": beta_t, but beta~_1 at t = 0, as in the papers' code."""
        return torch.cat([self._first_from_second(self.posterior_variance)[:1], self.betas[1:]])

    def _first_from_second(self, table: Tensor) -> Tensor:
        first = table[1:2] if len(table) > 1 else self.betas[:1]
        return torch.cat([first, table[1:]])

    def gather(self, table: Tensor, t: int | Tensor, like: Tensor) -> Tensor:
        """Return table[t] with the dtype and device of `like` [N, ...], shaped to broadcast against it.

        Raises IndexError for a t outside 0 .. T-1, and ValueError if the number of t is neither 1 nor N, or if `like`
        is not floating point.
        """
        check_floating(like)
        if isinstance(t, int):  # the case of the samplers, ten times faster without tensors
            inside, count = 0 <= t < len(self), 1
        else:
            t = torch.as_tensor(t, device="cpu")
            inside, count = bool(((t >= 0) & (t < len(self))).all()), t.numel()
        if not inside:
            raise IndexError(f"t must be in 0 .. {len(self) - 1}, not {t if isinstance(t, int) else t.tolist()}")
        if count not in (1, len(like)):
            raise ValueError(f"t must be one index, or one for each of the {len(like)} images, not {count}")
        coefficients = table[t].to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
        return coefficients.to(like.device, non_blocking=True)  # a blocking copy would wait for the GPU's queue

    # Forward process

    def q_mean_variance(self, x0: Tensor, t: int | Tensor) -> Gaussian:
        """Return q(x_t | x_0) = N(sqrt(abar_t) x_0, (1 - abar_t) I). DDPM Eq. 4."""
        variance, log_variance = 1 - self.abar, torch.log1p(-self.abar)
        mean = self.gather(self.abar.sqrt(), t, x0) * x0
        return Gaussian(mean, self.gather(variance, t, x0), self.gather(log_variance, t, x0))

    def q_sample(self, x0: Tensor, t: int | Tensor, eps: Tensor) -> Tensor:
        """Return x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps. DDPM Eq. 4.

        Raises ValueError unless eps has the shape of x_0.
        """
        _check_shape("the noise", eps, x0)
        return self.gather(self.abar.sqrt(), t, x0) * x0 + self.gather((1 - self.abar).sqrt(), t, x0) * eps

    def q_step(self, x_prev: Tensor, t: int | Tensor, eps: Tensor) -> Tensor:
        """Return x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) eps, one step of the Markov chain. DDPM Eq. 2.

        Raises ValueError unless eps has the shape of x_{t-1}.
        """
        _check_shape("the noise", eps, x_prev)
        return (
            self.gather((1 - self.betas).sqrt(), t, x_prev) * x_prev + self.gather(self.betas.sqrt(), t, x_prev) * eps
        )

    def q_posterior(self, x0: Tensor, xt: Tensor, t: int | Tensor) -> Gaussian:
        """Return q(x_{t-1} | x_t, x_0). DDPM Eq. 6 and 7.

        Raises ValueError unless x_0 has the shape of x_t.
        """
        _check_shape("x_0", x0, xt)
        mean = self.gather(self.posterior_coef_x0, t, xt) * x0 + self.gather(self.posterior_coef_xt, t, xt) * xt
        return Gaussian(
            mean, self.gather(self.posterior_variance, t, xt), self.gather(self.posterior_log_variance, t, xt)
        )

    # Conversions between x0, eps and v

    def x0_from_eps(self, xt: Tensor, t: int | Tensor, eps: Tensor) -> Tensor:
        """Return x_0 = x_t / sqrt(abar_t) - sqrt(1/abar_t - 1) eps. DDPM Eq. 4 solved for x_0."""
        return self.gather(self.abar.rsqrt(), t, xt) * xt - self.gather((1 / self.abar - 1).sqrt(), t, xt) * eps

    def eps_from_x0(self, xt: Tensor, t: int | Tensor, x0: Tensor) -> Tensor:
        """Return eps = (x_t - sqrt(abar_t) x_0) / sqrt(1 - abar_t). DDPM Eq. 4 solved for eps."""
        return (xt - self.gather(self.abar.sqrt(), t, xt) * x0) / self.gather((1 - self.abar).sqrt(), t, xt)

    def v_from_x0_eps(self, x0: Tensor, t: int | Tensor, eps: Tensor) -> Tensor:
        """Return v = sqrt(abar_t) eps - sqrt(1 - abar_t) x_0. Salimans and Ho 2022, section 4."""
        return self.gather(self.abar.sqrt(), t, x0) * eps - self.gather((1 - self.abar).sqrt(), t, x0) * x0

    def x0_from_v(self, xt: Tensor, t: int | Tensor, v: Tensor) -> Tensor:
        """Return x_0 = sqrt(abar_t) x_t - sqrt(1 - abar_t) v. Salimans and Ho 2022, appendix D."""
        return self.gather(self.abar.sqrt(), t, xt) * xt - self.gather((1 - self.abar).sqrt(), t, xt) * v

    def x0_from_previous(self, xt: Tensor, t: int | Tensor, mean: Tensor) -> Tensor:
        """Return the x_0 for which the posterior mean of x_{t-1} is `mean`. DDPM Eq. 7 solved for x_0."""
        return (mean - self.gather(self.posterior_coef_xt, t, xt) * xt) / self.gather(self.posterior_coef_x0, t, xt)

    # Reverse process

    def target(self, x0: Tensor, t: int | Tensor, eps: Tensor) -> Tensor:
        """Return the training target of the network prediction at (x0, t, eps), [N, C, H, W]."""
        if self.prediction_type == "epsilon":
            return eps
        if self.prediction_type == "sample":
            return x0
        if self.prediction_type == "previous":
            return self.q_posterior(x0, self.q_sample(x0, t, eps), t).mean
        return self.v_from_x0_eps(x0, t, eps)

    def split_output(self, output: Tensor, xt: Tensor) -> tuple[Tensor, Tensor | None]:
        """Split the network output into prediction and variance output v (None if not learned), each [N, C, H, W].

        Raises ValueError if the number of channels does not fit variance_type, or the other axes differ from xt.
        """
        channels = xt.shape[1]
        expected = channels * (2 if self.learns_variance else 1)
        if output.shape[1] != expected:
            raise ValueError(
                f"with variance_type {self.variance_type} the network must output {expected} channels, "
                f"not {output.shape[1]}"
            )
        _check_shape("the network's prediction", output[:, :channels], xt)
        return (output[:, :channels], output[:, channels:]) if self.learns_variance else (output, None)

    def predict_x0(self, prediction: Tensor, xt: Tensor, t: int | Tensor) -> Tensor:
        """Return x_0 implied by the network prediction [N, C, H, W], without clipping."""
        if self.prediction_type == "epsilon":
            return self.x0_from_eps(xt, t, prediction)
        if self.prediction_type == "sample":
            return prediction
        if self.prediction_type == "previous":
            return self.x0_from_previous(xt, t, prediction)
        return self.x0_from_v(xt, t, prediction)

    def clip_x0(self, x0: Tensor) -> Tensor:
        """Return x_0 clipped to [-clip_range, clip_range]."""
        return x0.clamp(-self.clip_range, self.clip_range)

    def p_variance(self, v: Tensor | None, xt: Tensor, t: int | Tensor) -> tuple[Tensor, Tensor]:
        """Return Sigma_theta(x_t, t) and its log: beta~_t, beta_t, exp(v), or interpolated between beta~_t and beta_t.

        DDPM section 3.2 for the fixed variances; Improved DDPM Eq. 15 for the interpolation, which is that of the logs.
        v, [N, C, H, W], is needed for a learned variance only.
        """
        if self.variance_type == "fixed_small":
            return self.gather(self.posterior_variance, t, xt), self.gather(self.posterior_log_variance, t, xt)
        if self.variance_type == "fixed_large":
            return self.gather(self.large_variance, t, xt), self.gather(self.large_variance.log(), t, xt)
        assert v is not None
        if self.variance_type == "learned":
            return v.exp(), v
        share = (v + 1) / 2
        upper, lower = self.gather(self.betas.log(), t, xt), self.gather(self.posterior_log_variance, t, xt)
        log_variance = share * upper + (1 - share) * lower
        return log_variance.exp(), log_variance

    def p(
        self, output: Tensor, xt: Tensor, t: int | Tensor, clip: bool = True, denoised_fn: DenoisedFn | None = None
    ) -> Reverse:
        """Return p_theta(x_{t-1} | x_t) = N(mu_theta, Sigma_theta) from the network output. DDPM Eq. 1 and 11.

        The mean is the posterior mean at the predicted x_0. `denoised_fn` changes this x_0, then `clip` clips it to the
        clip_range, and eps is recomputed from it. With prediction_type "previous" the mean is the prediction itself,
        which neither changes. Raises ValueError if denoised_fn changes the shape.
        """
        prediction, v = self.split_output(output, xt)
        x0 = self.predict_x0(prediction, xt, t)
        if denoised_fn is not None:
            x0 = denoised_fn(x0)
            _check_shape("the result of denoised_fn", x0, xt)
        if clip:
            x0 = self.clip_x0(x0)
        variance, log_variance = self.p_variance(v, xt, t)
        mean = prediction if self.prediction_type == "previous" else self.q_posterior(x0, xt, t).mean
        return Reverse(mean, variance, log_variance, x0, self.eps_from_x0(xt, t, x0))


def check_floating(x: Tensor) -> None:
    """Raise ValueError unless x is floating point. The coefficients of uint8 images would all be rounded to 0."""
    if not x.is_floating_point():
        raise ValueError(f"images must be floating point in [-1, 1], not {x.dtype}; convert them with x / 127.5 - 1")


def _check_shape(name: str, tensor: Tensor, reference: Tensor) -> None:
    if tensor.shape != reference.shape:
        raise ValueError(f"{name} must have shape {list(reference.shape)}, not {list(tensor.shape)}")
