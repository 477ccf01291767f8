"""Events of a training run; each is one line of events.jsonl."""

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError


@dataclass(frozen=True)
class Event:
    """Base class of the events."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields and `type`, the class name in snake case."""
        return {"type": _snake_case(type(self).__name__)} | asdict(self)


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
    """Images from the same seeds each time: of the averaged weights (path) and of the raw weights (raw_path).

    nearest_path  the training image nearest to each image of the averaged weights, by pixels; None without one
    copies        share of these images that are nearly copies of it
    """

    step: int
    path: str
    raw_path: str
    nearest_path: str | None = None
    copies: float | None = None


@dataclass(frozen=True)
class Saved(Event):
    """A checkpoint was written."""

    step: int
    path: str


@dataclass(frozen=True)
class Warned(Event):
    """A problem that does not end the call, such as a failed preview."""

    message: str


@dataclass(frozen=True)
class Failed(Event):
    """The call ended with an error; `step` is the last completed step, and `message` says what was kept."""

    step: int
    message: str


@dataclass(frozen=True)
class Finished(Event):
    """The call ended normally; `reason` is max_steps, max_minutes, early_stopped or stopped."""

    step: int
    reason: str


def _snake_case(name: str) -> str:
    return name[0].lower() + "".join(f"_{c.lower()}" if c.isupper() else c for c in name[1:])


@lru_cache(maxsize=1)
def _adapters() -> dict[str, dict[str, TypeAdapter]]:
    """Return the types of the fields of every event, by the name of the event."""
    fields = {kind: {name: TypeAdapter(hint) for name, hint in kind.__annotations__.items()} for kind in KINDS}
    return {_snake_case(kind.__name__): adapters for kind, adapters in fields.items()}


# What readers rely on. Earlier releases wrote fewer fields.
REQUIRED = {
    "start": ("pid", "resumed_from", "max_steps", "max_minutes"),
    "step": ("step", "loss", "bands", "elapsed"),
    "held_out": ("step", "loss"),
    "preview": ("step", "path"),
    "saved": ("step",),
}
NUM_BANDS = 4  # of a step
KINDS = (Start, Step, HeldOut, Preview, Saved, Warned, Failed, Finished)


def check_event(event: Any) -> dict[str, Any]:
    """Return an event read from events.jsonl. Raises ValueError if a field that a reader needs has another type.

    Events of a kind that this release does not know are returned as they are.
    """
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise ValueError("an event is not an object with a type")
    if missing := [name for name in REQUIRED.get(event["type"], ()) if name not in event]:
        raise ValueError(f"a {event['type']} event has no {missing[0]}")
    if event["type"] == "step" and len(event["bands"]) != NUM_BANDS:
        raise ValueError(f"a step event does not have {NUM_BANDS} bands")
    for name, adapter in _adapters().get(event["type"], {}).items():
        try:
            if name in event:
                adapter.validate_python(_as_tuple(event[name]), strict=True)
        except ValidationError as error:
            raise ValueError(f"{name} of a {event['type']} event has another type") from error
    return event


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
