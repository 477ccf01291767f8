"""What a training run reports, one line of events.jsonl each."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Event:
    def to_json(self) -> dict:
        name = type(self).__name__
        return {"type": name[0].lower() + "".join(f"_{c.lower()}" if c.isupper() else c for c in name[1:])} | asdict(
            self
        )


@dataclass(frozen=True)
class Start(Event):
    """First in every call: supersedes steps after resumed_from, and control lines written before it."""

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
    """Means since the last such event; error is the squared error or, of a classifier, the share of wrong answers; bands are it by noise, from the
    least noisy quarter of t to the noisiest.

    elapsed is in seconds since this call began.
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
    """The loss of the averaged weights on the held-out images, at the same noise every time, and its error, in all and by tenths of t."""

    step: int
    loss: float
    error: float
    bands: tuple[float | None, ...]


@dataclass(frozen=True)
class Preview(Event):
    """Images at the same seeds every time, made with the averaged weights (path) and with the raw ones (raw_path)."""

    step: int
    path: str
    raw_path: str


@dataclass(frozen=True)
class Saved(Event):
    step: int
    path: str


@dataclass(frozen=True)
class Warned(Event):
    message: str


@dataclass(frozen=True)
class Failed(Event):
    step: int
    message: str


@dataclass(frozen=True)
class Finished(Event):
    step: int
    reason: str
