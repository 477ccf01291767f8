"""Events of a training run; each is one line of events.jsonl."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """Base class of the events."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields and `type`, the class name in snake case."""
        name = type(self).__name__
        snake_case = name[0].lower() + "".join(f"_{c.lower()}" if c.isupper() else c for c in name[1:])
        return {"type": snake_case} | asdict(self)


@dataclass(frozen=True)
class Start(Event):
    """First event of each call. It supersedes steps after `resumed_from` and control lines written before it."""

    pid: int
    resumed_from: int
    max_steps: int | None
    max_minutes: float | None
    device: str
    precision: str
    processes: int
    parameters: int
    task: str


@dataclass(frozen=True)
class Step(Event):
    """Means since the last Step event.

    error    squared error or, for a classifier, the error rate
    vlb      variational bound term; None without one
    bands    error in each quarter of t, from the least noise to the most; None for a quarter without any t
    elapsed  seconds since the loop of this call began
    """

    step: int
    loss: float
    error: float
    vlb: float | None
    bands: tuple[float | None, ...]
    grad_norm: float
    learning_rate: float
    images_seen: int
    images_per_second: float
    elapsed: float


@dataclass(frozen=True)
class HeldOut(Event):
    """Loss and error of the averaged weights on the held-out images, with the same noise each time.

    bands  error in each tenth of t, from the least noise to the most; None for a tenth without any t
    """

    step: int
    loss: float
    error: float
    bands: tuple[float | None, ...]


@dataclass(frozen=True)
class Preview(Event):
    """Images from the same seeds each time: of the averaged weights (path) and of the raw weights (raw_path)."""

    step: int
    path: str
    raw_path: str


@dataclass(frozen=True)
class Saved(Event):
    """A checkpoint was written."""

    step: int
    path: str


@dataclass(frozen=True)
class Warned(Event):
    """A warning at the start of a call."""

    message: str


@dataclass(frozen=True)
class Failed(Event):
    """The call ended with an error; `step` is the last completed step."""

    step: int
    message: str


@dataclass(frozen=True)
class Finished(Event):
    """The call ended normally; `reason` is max_steps, max_minutes or stopped."""

    step: int
    reason: str
