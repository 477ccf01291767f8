"""Plan of a comparison grid: one or two settings vary, and every cell gets the same number of network calls."""

from bisect import bisect_right
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.sampling.request import Request, class_index, request_timesteps

if TYPE_CHECKING:
    from diffusion_demo.diffusion.process import Diffusion

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
PLURALS = {"calls": "network calls", "steps": "steps", "seed": "seeds"}
MIXED = "mixed"  # the value that stands for all classes: each image gets a random one


@dataclass(frozen=True)
class Axis:
    """A setting, named as in AXES, and the values it takes along one side of the grid."""

    name: str
    values: tuple[Any, ...]

    @property
    def title(self) -> str:
        """Return the display name of the setting."""
        return TITLES.get(self.name, self.name)


@dataclass(frozen=True)
class Cell:
    """One cell of the grid.

    calls is the budget of network calls per image; None if the number of steps is given instead.
    """

    row: int
    column: int
    checkpoint: str
    request: Request
    calls: int | None


@dataclass(frozen=True)
class Comparison:
    """A grid of variants of `base`: the values of `across` form the columns, those of `down` the rows.

    calls is the budget of network calls per image. It is ignored where the steps are an axis, and replaced by the
    axis values where the calls are an axis; both axes together are refused. If the sampler is an axis and eta is not,
    each sampler uses its usual eta.
    """

    base: Request
    checkpoint: str
    across: Axis
    down: Axis | None
    calls: int

    def cells(self, load_metadata: Callable[[str], CheckpointMetadata]) -> list[Cell]:
        """Return the cells grouped by checkpoint, so that each checkpoint is loaded once.

        Raises BadInput if any cell is invalid, before anything is sampled.
        """
        if self.down and self.down.name == self.across.name:
            raise BadInput(f"Both sides vary the {self.across.title}. Choose another setting for one of them.")
        if self.down and {self.down.name, self.across.name} == {"steps", "calls"}:
            raise BadInput(
                "The number of steps determines the network calls, so they cannot both vary. "
                "Choose another setting for one of them."
            )
        rows = self.down.values if self.down else (None,)
        count = len(rows) * len(self.across.values)
        if count > MAX_CELLS:
            raise BadInput(f"This grid has {count} cells, more than the limit of {MAX_CELLS}. Give fewer values.")
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

    def _cell(
        self, row: int, column: int, varied: dict[str, Any], load_metadata: Callable[[str], CheckpointMetadata]
    ) -> Cell:
        checkpoint = varied.pop("checkpoint", self.checkpoint)
        metadata = load_metadata(checkpoint)
        calls = None if "steps" in varied else varied.pop("calls", self.calls)
        if "class" in varied:
            name = varied.pop("class")
            varied["class_index"] = None if name == MIXED else class_index(name, metadata)
        if "sampler" in varied and "eta" not in varied:
            varied["eta"] = None
        request = replace(self.base, **varied)
        if calls is not None:
            calls_per_step = 1 if request.guidance_scale == 1 else 2
            if calls < calls_per_step:
                raise BadInput(f"An image needs at least {calls_per_step} network calls here, not {calls}.")
            # `fit_steps_to_calls` adds the steps that the interval saves once the noise schedule is loaded
            request = replace(request, steps=calls // calls_per_step)
        request.check(metadata)
        return Cell(row, column, checkpoint, request, calls)


def parse_axis(name: str, text: str, choices: Collection[str] = ()) -> Axis:
    """Parse comma-separated values into an Axis, without duplicates.

    Each value must be one of `choices` if these are given. Raises BadInput for an unknown setting or value.
    """
    if name not in AXES:
        raise BadInput(f"There is no setting {name!r} to compare. Choose one of {', '.join(AXES)}.")
    parts = [part.strip() for part in text.split(",")]
    if unknown := [part for part in parts if part and choices and part not in choices]:
        raise BadInput(f"There is no {TITLES.get(name, name)} {unknown[0]!r}. Choose from {', '.join(choices)}.")
    values = tuple(dict.fromkeys(_parse_value(name, part) for part in parts if part))
    if not values:
        raise BadInput(f"Give at least one value of the {TITLES.get(name, name)}.")
    return Axis(name, values)


def _parse_value(name: str, text: str) -> str | int | float:
    try:
        return AXES[name](text)
    except ValueError as error:
        kind = "whole numbers" if AXES[name] is int else "numbers"
        title = PLURALS.get(name, f"{TITLES.get(name, name)} values")
        raise BadInput(f'{title[:1].upper()}{title[1:]} must be {kind} ("{text}" isn\'t one).') from error


def network_calls(request: Request, diffusion: "Diffusion") -> int:
    """Return the network calls per image: one a step, and a second one where classifier-free guidance acts."""
    timesteps = request_timesteps(request, diffusion)
    interval = request.resolved(diffusion).guidance_interval
    if request.guidance_scale == 1 or interval is None:
        return len(timesteps)
    return len(timesteps) + sum(interval[0] <= t <= interval[1] for t in timesteps)


def fit_steps_to_calls(cell: Cell, diffusion: "Diffusion") -> Request:
    """Return the cell's request with the largest number of steps that fits its budget of network calls."""
    if cell.calls is None:
        return cell.request
    counts = range(1, min(cell.calls, len(diffusion)) + 1)
    steps = bisect_right(counts, cell.calls, key=lambda n: network_calls(replace(cell.request, steps=n), diffusion))
    return replace(cell.request, steps=max(1, steps))
