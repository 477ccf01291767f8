"""A compare grid: up to two settings varied and the rest held, as a plan of cells that ask the network equally often."""

from bisect import bisect_right
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.sampling.presets import DEFAULT_ETA
from diffusion_demo.sampling.request import Request, check_steps, class_index, request_timesteps

MAX_CELLS = 64
AXES = {
    "sampler": str,
    "calls": int,
    "steps": int,
    "guidance_scale": float,
    "classifier_scale": float,
    "eta": float,
    "seed": int,
    "class": str,
    "checkpoint": str,
}
TITLES = {
    "calls": "network calls",
    "guidance_scale": "guidance",
    "classifier_scale": "classifier guidance",
    "checkpoint": "model",
}
ANY_CLASS = "mixed"


@dataclass(frozen=True)
class Axis:
    """One setting, by its name in AXES, and the values that it takes."""

    name: str
    values: tuple

    @property
    def title(self) -> str:
        """What a person calls the setting."""
        return TITLES.get(self.name, self.name)


@dataclass(frozen=True)
class Cell:
    """One place of the grid. calls is how often the network may be asked for an image; None: as often as the request's steps need."""

    row: int
    column: int
    checkpoint: str
    request: Request
    calls: int | None


@dataclass(frozen=True)
class Comparison:
    """`base` of `checkpoint` with across's values in the columns and down's in the rows, at so many network calls an image.

    Where samplers are an axis and eta is none, each has its usual eta.
    Where steps are an axis they are taken as they are, and the calls follow; where calls are, these are the budgets.
    """

    base: Request
    checkpoint: str
    across: Axis
    down: Axis | None
    calls: int

    def cells(self, load_metadata: Callable[[str], CheckpointMetadata]) -> list[Cell]:
        """The cells, each checkpoint's together, so that it is loaded once. Raises BadInput before anything is made."""
        if self.down and self.down.name == self.across.name:
            raise BadInput(f"Both sides vary the {self.across.title}; choose another setting for one of them.")
        rows = self.down.values if self.down else (None,)
        if len(rows) * len(self.across.values) > MAX_CELLS:
            raise BadInput(
                f"This grid would have {len(rows) * len(self.across.values)} cells; {MAX_CELLS} are the most."
            )
        cells = [
            self._cell(
                row,
                column,
                {self.across.name: value} | ({self.down.name: rows[row]} if self.down else {}),
                load_metadata,
            )
            for row in range(len(rows))
            for column, value in enumerate(self.across.values)
        ]
        order = list(dict.fromkeys(cell.checkpoint for cell in cells))
        return sorted(cells, key=lambda cell: order.index(cell.checkpoint))

    def _cell(self, row: int, column: int, varied: dict, load_metadata: Callable[[str], CheckpointMetadata]) -> Cell:
        checkpoint = varied.pop("checkpoint", self.checkpoint)
        about = load_metadata(checkpoint)
        calls = None if "steps" in varied else varied.pop("calls", self.calls)
        if "class" in varied:
            name = varied.pop("class")
            varied["class_index"] = None if name == ANY_CLASS else class_index(name, about)
        if "sampler" in varied and "eta" not in varied:
            varied["eta"] = DEFAULT_ETA.get(varied["sampler"], 0.0)
        request = replace(self.base, **varied)
        if calls is not None:
            least = 1 if request.guidance_scale == 1 else 2
            if calls < least:
                raise BadInput(f"An image needs at least {least} network calls here, not {calls}.")
            request = replace(request, steps=calls // least)
            if request.guidance_interval is None:
                check_steps(request.steps, about)
            else:  # fewer calls a step, so more steps: `fit_steps_to_calls` knows how many when the chain is at hand
                request = replace(request, steps=min(request.steps, about.num_train_timesteps))
        request.check(about)
        return Cell(row, column, checkpoint, request, calls)


def axis(name: str, words: str, known: Collection[str] = ()) -> Axis:
    """The axis of values that are separated by commas, each one of `known` where these are given. Raises BadInput."""
    if name not in AXES:
        raise BadInput(f"There is no setting {name!r} to compare; choose one of {', '.join(AXES)}.")
    parts = [part.strip() for part in words.split(",")]
    if unknown := [part for part in parts if part and known and part not in known]:
        raise BadInput(f"There is no {TITLES.get(name, name)} {unknown[0]!r}; choose from {', '.join(known)}.")
    values = tuple(dict.fromkeys(_value(name, part) for part in parts if part))
    if not values:
        raise BadInput(f"Give at least one value of the {TITLES.get(name, name)}.")
    return Axis(name, values)


def _value(name: str, word: str) -> str | int | float:
    try:
        return AXES[name](word)
    except ValueError as error:
        kind = "a whole number" if AXES[name] is int else "a number"
        raise BadInput(f"A value of the {TITLES.get(name, name)} must be {kind}, not {word!r}.") from error


def network_calls(request: Request, diffusion: Diffusion) -> int:
    """How often an image asks the network: once a step, and once more where classifier-free guidance acts."""
    visited = request_timesteps(request, diffusion)
    if request.guidance_scale == 1:
        return len(visited)
    lowest, highest = request.guidance_interval or (0, len(diffusion) - 1)
    return len(visited) + sum(lowest <= t <= highest for t in visited)


def fit_steps_to_calls(cell: Cell, diffusion: Diffusion) -> Request:
    """The cell's request with the most steps that its calls allow, on the chain of its checkpoint."""
    if cell.calls is None:
        return cell.request
    counts = range(1, min(cell.calls, len(diffusion)) + 1)
    steps = bisect_right(counts, cell.calls, key=lambda n: network_calls(replace(cell.request, steps=n), diffusion))
    return replace(cell.request, steps=max(1, steps))
