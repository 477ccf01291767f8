"""Which of the T timesteps a sampler visits, and how t is drawn in training."""

import math

import torch
from torch import Tensor

from diffusion_demo.diffusion.schedules import log_signal_to_noise


def spaced_timesteps(num_timesteps: int, spacing: int | str) -> list[int]:
    """The timesteps of 0 .. T-1 that a sampler visits, ascending. Improved DDPM section 4; the papers' code's space_timesteps.

    spacing  a count, spread evenly with both ends ("25" or 25; one step alone is T-1: a sampler starts from pure noise);
             counts per section, from t = 0 upward ("10,15,20"), each section with both its ends (one step alone is its first);
             "ddimN", every k-th step from 0, where some k gives N steps (it ends below T-1);
             "leading:N", "trailing:N", "quadratic:N" (diffusers' names; DDIM section 5 for quadratic).
    Raises ValueError for a count that does not fit, naming it.
    """
    text = str(spacing).strip()
    if text.startswith("ddim"):
        return _strided(num_timesteps, _count(text[4:], num_timesteps))
    kind, _, rest = text.rpartition(":")
    if kind:
        return _by_formula(kind, num_timesteps, _count(rest, num_timesteps))
    counts = text.split(",")
    if len(counts) == 1:
        count = _count(text, num_timesteps)
        return [num_timesteps - 1] if count == 1 else _section(0, num_timesteps, count)
    return _sections(num_timesteps, [_count(part, num_timesteps) for part in counts])


def _count(text: str, num_timesteps: int) -> int:
    if not text.strip().lstrip("-").isdecimal() or not 1 <= int(text) <= num_timesteps:
        raise ValueError(
            f"steps must be from 1 to {num_timesteps} (the timesteps that the model was trained with), not {text.strip() or 'nothing'}"
        )
    return int(text)


def _section(start: int, size: int, count: int) -> list[int]:
    """`count` positions from start to start + size - 1, accumulated in floating point and rounded half to even, as in the papers' code."""
    stride = (size - 1) / (count - 1) if count > 1 else 1.0
    steps, position = [], 0.0
    for _ in range(count):
        steps.append(start + round(position))
        position += stride
    return steps


def _sections(num_timesteps: int, counts: list[int]) -> list[int]:
    size, longer = divmod(num_timesteps, len(counts))
    steps, start = [], 0
    for i, count in enumerate(counts):
        length = size + (i < longer)
        if count > length:
            raise ValueError(f"a section of {length} timesteps cannot hold {count} steps")
        steps += _section(start, length, count)
        start += length
    return steps


def _strided(num_timesteps: int, count: int) -> list[int]:
    for stride in range(1, num_timesteps + 1):
        steps = list(range(0, num_timesteps, stride))
        if len(steps) == count:
            return steps
    raise ValueError(f"no whole stride over {num_timesteps} timesteps gives {count} steps")


def _by_formula(kind: str, num_timesteps: int, count: int) -> list[int]:
    if kind == "leading":
        return [i * (num_timesteps // count) for i in range(count)]
    if kind == "trailing":
        return sorted(round(num_timesteps - i * num_timesteps / count) - 1 for i in range(count))
    if kind == "quadratic":
        top = (num_timesteps - 1) ** 0.5
        return (
            sorted({round((i * top / max(1, count - 1)) ** 2) for i in range(count)})
            if count > 1
            else [num_timesteps - 1]
        )
    raise ValueError(f"no spacing is called {kind!r}; there are leading, trailing and quadratic")


def log_snr_timesteps(abar: Tensor, count: int) -> list[int]:
    """The timesteps, ascending, that dpm_solver visits on a chain of abar_t, float64 [T]: T-1, then even steps in log SNR.

    Lu et al. 2022 (DPM-Solver), section 3.4. They span -2w - 2 to 2w with w = log2(count) - 1/3, at most 4: beyond that an image is all
    noise, or clean to the eye, and few steps are better spent between (measured on the emoji model). Raises ValueError for a count
    outside 1 .. T.
    """
    num_timesteps = len(abar)
    count = _count(str(count), num_timesteps)
    log_snr, width = log_signal_to_noise(abar), min(4.0, math.log2(count) - 1 / 3)
    low, high = max(-2 * width - 2, float(log_snr[-1])), min(2 * width, float(log_snr[0]))
    wanted = torch.linspace(high, low, max(1, count - 1), dtype=torch.float64)
    steps = [*[int((log_snr - value).abs().argmin()) for value in wanted][: count - 1], num_timesteps - 1]
    for k in range(1, count):
        steps[k] = max(steps[k], steps[k - 1] + 1)
    for k in reversed(range(count)):
        steps[k] = min(steps[k], num_timesteps - count + k)
    return steps


def uniform_timesteps(count: int, num_timesteps: int, generator: torch.Generator) -> Tensor:
    """t for a batch, int64 [count]: each drawn uniformly from 0 .. T-1. DDPM Algorithm 1."""
    return torch.randint(num_timesteps, (count,), generator=generator)


def stratified_timesteps(count: int, num_timesteps: int, generator: torch.Generator) -> Tensor:
    """t for a batch, int64 [count]: uniform over 0 .. T-1 each, and spread evenly over the batch. Kingma et al. 2021, appendix I.1."""
    start = torch.rand(1, generator=generator, dtype=torch.float64)
    positions = (start + torch.arange(count, dtype=torch.float64) / count) % 1
    return (positions * num_timesteps).long().clamp(max=num_timesteps - 1)[torch.randperm(count, generator=generator)]


TIMESTEP_SAMPLERS = ("stratified", "uniform", "loss_aware")


class LossAwareTimesteps:
    """Importance sampling of t by the root mean square of the last losses seen at each t. Improved DDPM Eq. 18.

    Uniform until every t has `history` losses. The weights make the weighted loss unbiased: mean over draws of weight * loss
    estimates the uniform mean. `losses` float64 [T, history], oldest first, and `counts` int64 [T] are the whole state; every process
    of a training must be given the same updates (the global batch's).
    """

    def __init__(self, num_timesteps: int, history: int = 10, uniform_share: float = 0.001):
        self.losses = torch.zeros(num_timesteps, history, dtype=torch.float64)
        self.counts = torch.zeros(num_timesteps, dtype=torch.int64)
        self.uniform_share = uniform_share

    def probabilities(self) -> Tensor:
        """p_t, float64 [T]."""
        num_timesteps, history = self.losses.shape
        if int(self.counts.min()) < history:
            return torch.full((num_timesteps,), 1 / num_timesteps, dtype=torch.float64)
        root_mean_square = (self.losses**2).mean(dim=1).sqrt()
        return (1 - self.uniform_share) * root_mean_square / root_mean_square.sum() + self.uniform_share / num_timesteps

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """t int64 [count], and the weights 1 / (T p_t) float32 [count] of their losses."""
        p = self.probabilities()
        t = torch.multinomial(p, count, replacement=True, generator=generator)
        return t, (1 / (len(p) * p[t])).float()

    def update(self, t: Tensor, losses: Tensor) -> None:
        """Remember the unweighted losses [N] seen at t [N], in their order; the oldest of each t falls out."""
        for step, loss in zip(t.tolist(), losses.tolist(), strict=True):
            self.losses[step] = self.losses[step].roll(-1)
            self.losses[step, -1] = loss
            self.counts[step] += 1
