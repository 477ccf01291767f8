"""Compare settings on the Sample tab: fill a labeled grid cell by cell, with live updates."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import CheckpointMetadata, has_classifier
from diffusion_demo.sampling.comparison import (
    Axis,
    Cell,
    Comparison,
    fit_steps_to_calls,
    network_calls,
    parse_axis,
)
from diffusion_demo.sampling.presets import SAMPLER_TITLES
from diffusion_demo.sampling.request import Request
from diffusion_demo.ui.duration import duration
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.preview.preview import idle_buttons, working_buttons
from diffusion_demo.ui.sample import words
from diffusion_demo.ui.sample.compare_image import caption, draw_grid, settings_of
from diffusion_demo.ui.sample.request_form import class_values, parse_request, require_number
from diffusion_demo.ui.server import hf_space, limits, warmup
from diffusion_demo.ui.server.fair_queue import in_fair_queue
from diffusion_demo.ui.server.model_list import folder_of, model_folders
from diffusion_demo.ui.settings import settings

NONE = "none"
MAX_PER_CELL = 4


@in_fair_queue(lambda words: {"status": words})
def compare(model: str, calls: int, per_cell: int, **form: Any) -> Iterator[dict[str, Any]]:
    """Fill a comparison grid and yield updates by name: status, grid, start and stop.

    `form` holds across, columns, down and rows (see `_axes`) and the arguments of `parse_request`.
    """
    warmup.wait()
    with user_errors_as_toasts():
        plan = _plan(model, calls, per_cell, form)
        cells = plan.cells(lambda name: load_metadata(folder_of(name)))
        _check(cells)
    started = time.monotonic()
    yield {"status": f"0 of {_cells(len(cells))}", "grid": None} | working_buttons()
    with TemporaryDirectory() as folder, user_errors_as_toasts():
        yield from _fill(plan, cells, Path(folder), started)


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"


def _plan(model: str, calls: float | None, per_cell: float | None, form: dict[str, Any]) -> Comparison:
    """Parse the form. Raises BadInput."""
    metadata = load_metadata(folder_of(model))
    count = require_number(per_cell, "number of images in a cell")
    if not 1 <= count <= MAX_PER_CELL:
        raise BadInput(f"A cell cannot hold {count:g} images. Choose from 1 to {MAX_PER_CELL}.")
    across, down = _axes(metadata, **{name: form.pop(name) for name in ("across", "columns", "down", "rows")})
    base = _with_eta_sampler(parse_request(metadata, num_images=count, **form), [across, down])
    return Comparison(base, model, across, down, int(require_number(calls, "number of network calls")))


def _axes(metadata: CheckpointMetadata, across: str, columns: str, down: str, rows: str) -> tuple[Axis, Axis | None]:
    """Return the axes of the settings across and down with their comma-separated values. Raises BadInput."""
    choices = {
        "sampler": list(SAMPLER_TITLES),
        "class": [*class_values(metadata), *map(metadata.title, metadata.class_names)],
        "checkpoint": list(model_folders()),
    }
    column_axis, row_axis = (
        None if name in (None, NONE) else parse_axis(name, values or "", choices.get(name, ()))
        for name, values in ((across, columns), (down, rows))
    )
    if column_axis is None:
        raise BadInput("The columns vary nothing. Choose a setting for the columns.")
    return column_axis, row_axis


def _with_eta_sampler(base: Request, axes: list[Axis | None]) -> Request:
    """Return the request with DDIM instead of DDPM, which ignores eta, if eta is compared and the sampler is not."""
    names = [axis.name for axis in axes if axis]
    if base.sampler == "ddpm" and "eta" in names and "sampler" not in names:
        return replace(base, sampler="ddim")
    return base


def _check(cells: list[Cell]) -> None:
    """Raise BadInput for a cell without its classifier, or for more than the page allows."""
    for cell in cells:
        if cell.request.classifier_scale and not has_classifier(folder_of(cell.checkpoint)):
            raise BadInput(f"{cell.checkpoint} has no classifier. Set classifier guidance to 0.")
    for cell in cells:
        images = cell.request.num_images * (len(cells) if settings().public else 1)
        limits.check_sampling(images, int(cell.request.steps))


def _fill(plan: Comparison, cells: list[Cell], folder: Path, started: float) -> Iterator[dict[str, Any]]:
    """Sample the cells one by one and yield the updates by name; the grids are written to `folder`."""
    from diffusion_demo.images import save_png
    from diffusion_demo.sampling.generate import sample
    from diffusion_demo.ui.preview.progress_stream import watch
    from diffusion_demo.ui.server.model_cache import load

    results, path = {}, None
    costs = [cell.calls or 2 * int(cell.request.steps) for cell in cells]
    for i, cell in enumerate(cells):
        checkpoint = load(folder_of(cell.checkpoint))
        request = fit_steps_to_calls(cell, checkpoint.diffusion)
        step = None
        with closing(watch(hf_space.steps(sample, checkpoint, folder_of(cell.checkpoint), request))) as updates:
            for new_steps in updates:
                step = new_steps[-1]
                done = sum(costs[:i]) + costs[i] * step.index / step.total
                remaining = duration((time.monotonic() - started) / done * (sum(costs) - done))
                status = f"Cell {i + 1} of {len(cells)}, step {step.index} of {step.total}, {remaining} left"
                yield {"status": status}
        assert step is not None, "a sampler yields at least one step"
        results[cell.row, cell.column] = step.xt, caption(request, network_calls(request, checkpoint.diffusion))
        path = folder / f"compare_{i + 1:02d}.png"
        save_png(path, draw_grid(plan, results, checkpoint.description), settings_of(plan))
        if len(results) < len(cells):
            yield {"status": f"{len(results)} of {_cells(len(cells))}", "grid": str(path)}
    status = f"{_cells(len(cells))} in {duration(time.monotonic() - started)}."
    yield {"status": status, "grid": str(path)} | idle_buttons(words.COMPARE)
