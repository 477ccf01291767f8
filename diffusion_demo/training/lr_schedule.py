"""Learning-rate schedules.

The factor on the learning rate depends on the step alone, so that a resumed run repeats it exactly.
"""

import math
from dataclasses import dataclass

from diffusion_demo.errors import BadInput

LR_SCHEDULERS = ("constant_with_warmup", "cosine", "warmup_stable_decay")
DECAY_SHARE = 0.2  # default length of the final decay, as a share of the steps after the warm-up


@dataclass(frozen=True)
class LRSchedule:
    """A linear warm-up over `warmup_steps`, followed by one of LR_SCHEDULERS.

    constant_with_warmup  stays at 1
    cosine                falls to 0 over the steps left until lr_total_steps, as get_cosine_schedule_with_warmup of
                          diffusers does
    warmup_stable_decay   stays at 1, then falls to 0 as 1 - sqrt(progress) over the last lr_decay_steps. Hägele et al.
                          2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations", section 3

    Raises BadInput for settings that contradict each other.
    """

    lr_scheduler: str = "constant_with_warmup"
    warmup_steps: int = 0
    lr_total_steps: int | None = None
    lr_decay_steps: int | None = None

    def __post_init__(self) -> None:
        if self.lr_scheduler not in LR_SCHEDULERS:
            raise BadInput(
                f"Learning-rate schedule must be one of {', '.join(LR_SCHEDULERS)}, not {self.lr_scheduler!r}.",
                "lr_scheduler",
            )
        if self.ends:
            self._check_total_steps()
            self._check_decay_steps()
            return
        for name in ("lr_total_steps", "lr_decay_steps"):
            if getattr(self, name) is not None:
                flag = f"--{name.replace('_', '-')}"
                raise BadInput(
                    f"{flag} does not apply to the schedule {self.lr_scheduler}. Leave it out, or choose another one.",
                    name,
                )

    def _check_total_steps(self) -> None:
        if self.lr_total_steps is None:
            raise BadInput(
                f"The schedule {self.lr_scheduler} needs the total number of steps. "
                "Add --lr-total-steps N or --max-steps N.",
                "lr_total_steps",
            )
        if self.lr_total_steps <= self.warmup_steps:
            raise BadInput(
                f"The learning-rate schedule ends at step {self.lr_total_steps}, within its warm-up of "
                f"{self.warmup_steps} steps. Use more steps in total or a shorter warm-up.",
                "lr_total_steps",
            )

    def _check_decay_steps(self) -> None:
        if self.lr_decay_steps is None:
            return
        if self.lr_scheduler == "cosine":
            raise BadInput("A cosine schedule decays over all its steps. Leave out --lr-decay-steps.", "lr_decay_steps")
        assert self.lr_total_steps is not None
        max_decay_steps = self.lr_total_steps - self.warmup_steps
        if not 1 <= self.lr_decay_steps <= max_decay_steps:
            raise BadInput(
                f"The decay must take from 1 to {max_decay_steps} steps (all steps after the warm-up), "
                f"not {self.lr_decay_steps}.",
                "lr_decay_steps",
            )

    @property
    def ends(self) -> bool:
        """Whether the learning rate reaches 0, which also ends the run."""
        return self.lr_scheduler != "constant_with_warmup"

    @property
    def decay_start(self) -> int:
        """The last step with the full learning rate."""
        if self.lr_scheduler == "cosine":
            return self.warmup_steps
        assert self.lr_total_steps is not None
        decay_steps = self.lr_decay_steps or max(1, round(DECAY_SHARE * (self.lr_total_steps - self.warmup_steps)))
        return self.lr_total_steps - decay_steps

    def factor(self, step: int) -> float:
        """Return the factor on the learning rate for optimizer step `step`, counted from 1."""
        if step <= self.warmup_steps:
            return step / self.warmup_steps
        if not self.ends or step <= self.decay_start:
            return 1.0
        assert self.lr_total_steps is not None
        progress = min(1.0, (step - 1 - self.decay_start) / (self.lr_total_steps - self.decay_start))
        return 0.5 * (1 + math.cos(math.pi * progress)) if self.lr_scheduler == "cosine" else 1 - math.sqrt(progress)

    def agrees_until(self, other: "LRSchedule", step: int) -> bool:
        """Return whether both schedules give the same factor for every step up to `step`, inclusive."""
        return all(self.factor(i) == other.factor(i) for i in range(1, step + 1))
