"""Timesteps that a sampler visits, and sampling of t in training."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from diffusion_demo.diffusion.schedules import log_signal_to_noise


def spaced_timesteps(num_timesteps: int, spacing: int | str | Sequence[int]) -> list[int]:
    """Return the timesteps of 0 .. T-1 that a sampler visits, ascending. Improved DDPM section 4.

    Equivalent to space_timesteps in the papers' code. `spacing` is one of
      a count ("25" or 25): evenly spaced with both ends included; a single step is T-1, where x_t is pure noise;
      counts per section ("10,15,20" or [10, 15, 20]): equal sections from t = 0 upward, each with both ends included;
        a single step is the first of its section, and a section may have none;
      nothing (""): all timesteps;
      "ddimN": every k-th timestep from 0, for the smallest k that gives N steps; it ends below T-1;
      "leading:N", "trailing:N", "quadratic:N": as named in diffusers; DDIM section 5 for quadratic.

    Raises ValueError for an unknown spacing, or a number of steps that does not fit.
    """
    text = (str(spacing) if isinstance(spacing, int | str) else ",".join(map(str, spacing)) or "no sections").strip()
    if not text:
        return list(range(num_timesteps))
    if text.startswith("ddim"):
        return _strided(num_timesteps, _parse_count(text[4:], num_timesteps))
    kind, _, rest = text.rpartition(":")
    if kind:
        return _by_formula(kind, num_timesteps, _parse_count(rest, num_timesteps))
    counts = text.split(",")
    if len(counts) == 1:
        count = _parse_count(text, num_timesteps)
        return [num_timesteps - 1] if count == 1 else _section(0, num_timesteps, count)
    return _sections(num_timesteps, [_parse_count(part, num_timesteps, least=0) for part in counts])


def _parse_count(text: str, num_timesteps: int, least: int = 1) -> int:
    text = text.strip()
    is_number = text.removeprefix("-").isdecimal() and len(text) < 20  # int() refuses more than 4,300 digits
    if not is_number or not least <= int(text) <= num_timesteps:
        shown = text[:20] or "empty"
        raise ValueError(
            f"steps must be from {least} to {num_timesteps} (the number of training timesteps), not {shown}"
        )
    return int(text)


def _section(start: int, size: int, count: int) -> list[int]:
    """Return `count` timesteps from start to start + size - 1.

    Positions are accumulated in floating point and rounded half to even, as in the papers' code.
    """
    stride = (size - 1) / (count - 1) if count > 1 else 1.0
    steps, position = [], 0.0
    for _ in range(count):
        steps.append(start + round(position))
        position += stride
    return steps


def _sections(num_timesteps: int, counts: list[int]) -> list[int]:
    size, remainder = divmod(num_timesteps, len(counts))
    steps, start = [], 0
    for i, count in enumerate(counts):
        length = size + (i < remainder)
        if count > length:
            raise ValueError(f"a section of {length} timesteps cannot have {count} steps")
        steps += _section(start, length, count)
        start += length
    if not steps:
        raise ValueError("at least one section must have steps")
    return steps


def _strided(num_timesteps: int, count: int) -> list[int]:
    for stride in range(1, num_timesteps + 1):
        steps = list(range(0, num_timesteps, stride))
        if len(steps) == count:
            return steps
    raise ValueError(f"no integer stride over {num_timesteps} timesteps gives {count} steps")


def _by_formula(kind: str, num_timesteps: int, count: int) -> list[int]:
    if kind == "leading":
        return [i * (num_timesteps // count) for i in range(count)]
    if kind == "trailing":
        return sorted(round(num_timesteps - i * num_timesteps / count) - 1 for i in range(count))
    if kind == "quadratic":
        if count == 1:
            return [num_timesteps - 1]
        root = (num_timesteps - 1) ** 0.5
        return sorted({round((i * root / (count - 1)) ** 2) for i in range(count)})
    raise ValueError(f"unknown spacing {kind!r}; choose from leading, trailing and quadratic")


def log_snr_timesteps(abar: Tensor, count: int) -> list[int]:
    """Return the timesteps, ascending, that dpm_solver visits for abar_t, float64 [T]: T-1, then uniform in log SNR.

    Lu et al. 2022 (DPM-Solver), section 3.4. The log SNR ranges from -2w - 2 to 2w with w = log2(count) - 1/3, at most
    4. Outside this range x_t is visually pure noise or a clean image, and a small number of steps gives better images
    when spent inside it (measured on the emoji model of release 0.1.0).

    Raises ValueError for a count outside 1 .. T.
    """
    num_timesteps = len(abar)
    count = _parse_count(str(count), num_timesteps)
    log_snr, width = log_signal_to_noise(abar), min(4.0, math.log2(count) - 1 / 3)
    low, high = max(-2 * width - 2, float(log_snr[-1])), min(2 * width, float(log_snr[0]))
    targets = torch.linspace(high, low, max(1, count - 1), dtype=torch.float64)
    steps = [*[int((log_snr - target).abs().argmin()) for target in targets][: count - 1], num_timesteps - 1]
    # Neighboring targets can have the same nearest timestep: keep the steps distinct and inside the chain.
    for k in range(1, count):
        steps[k] = max(steps[k], steps[k - 1] + 1)
    for k in reversed(range(count)):
        steps[k] = min(steps[k], num_timesteps - count + k)
    return steps


def uniform_timesteps(count: int, num_timesteps: int, generator: torch.Generator) -> Tensor:
    """Sample t for a batch, int64 [count], independently and uniformly from 0 .. T-1. DDPM Algorithm 1."""
    return torch.randint(num_timesteps, (count,), generator=generator)


def stratified_timesteps(count: int, num_timesteps: int, generator: torch.Generator) -> Tensor:
    """Sample t for a batch, int64 [count], each uniform over 0 .. T-1 and stratified over the batch.

    Kingma et al. 2021, appendix I.1.
    """
    offset = torch.rand(1, generator=generator, dtype=torch.float64)
    positions = (offset + torch.arange(count, dtype=torch.float64) / count) % 1
    return (positions * num_timesteps).long().clamp(max=num_timesteps - 1)[torch.randperm(count, generator=generator)]


TIMESTEP_SAMPLERS = ("stratified", "uniform", "loss_aware")


class LossAwareTimesteps:
    """Importance sampling of t by the root mean square of the latest losses at each t. Improved DDPM Eq. 18.

    Sampling is uniform until every t has `history` losses. The returned weights keep the loss unbiased: the mean of
    weight * loss over samples estimates the mean loss over uniform t. The state is `losses`, float64 [T, history] with
    the oldest first, and `counts`, int64 [T]. In distributed training, every process must receive the same updates
    (those of the global batch).
    """

    def __init__(self, num_timesteps: int, history: int = 10, uniform_share: float = 0.001):
        self.losses: Tensor = torch.zeros(num_timesteps, history, dtype=torch.float64)
        self.counts: Tensor = torch.zeros(num_timesteps, dtype=torch.int64)
        self.uniform_share = uniform_share

    def probabilities(self) -> Tensor:
        """Return the probability p_t of each timestep, float64 [T]."""
        num_timesteps, history = self.losses.shape
        if int(self.counts.min()) < history:
            return torch.full((num_timesteps,), 1 / num_timesteps, dtype=torch.float64)
        root_mean_square = (self.losses**2).mean(dim=1).sqrt()
        return (1 - self.uniform_share) * root_mean_square / root_mean_square.sum() + self.uniform_share / num_timesteps

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sample t, int64 [count], and return it with the loss weights 1 / (T p_t), float32 [count]."""
        p = self.probabilities()
        t = torch.multinomial(p, count, replacement=True, generator=generator)
        return t, (1 / (len(p) * p[t])).float()

    def update(self, t: Tensor, losses: Tensor) -> None:
        """Append the unweighted losses [N] at timesteps t [N], in order; each replaces the oldest loss of its t."""
        for step, loss in zip(t.tolist(), losses.tolist(), strict=True):
            self.losses[step] = self.losses[step].roll(-1)
            self.losses[step, -1] = loss
            self.counts[step] += 1
