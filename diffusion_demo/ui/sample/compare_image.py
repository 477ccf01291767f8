"""Comparison image: a labeled grid, with its settings stored in the PNG."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from PIL import Image

from diffusion_demo import __version__
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.sampling.comparison import MIXED, Axis, Comparison
from diffusion_demo.sampling.contact_sheet import GridCell, labeled_grid
from diffusion_demo.sampling.presets import SAMPLER_TITLES
from diffusion_demo.sampling.request import Request
from diffusion_demo.ui.sample import words
from diffusion_demo.ui.server.model_list import title_of

if TYPE_CHECKING:
    from torch import Tensor


def draw_grid(
    plan: Comparison, results: "dict[tuple[int, int], tuple[Tensor, str]]", metadata: CheckpointMetadata
) -> Image.Image:
    """Draw the cells finished so far: images [N, C, S, S] in [-1, 1] and a caption, by (row, column)."""
    from diffusion_demo.images import contact_sheet, to_uint8

    cells = {place: GridCell(contact_sheet(to_uint8(x)), caption) for place, (x, caption) in results.items()}
    columns, rows = (
        [_header(axis, value, metadata) for value in axis.values] if axis else [""] for axis in (plan.across, plan.down)
    )
    return labeled_grid(cells, columns, rows, _footer(plan, metadata))


def _header(axis: Axis, value: str | int | float, metadata: CheckpointMetadata) -> str:
    if value == MIXED:
        return words.ALL_CLASSES
    if axis.name == "checkpoint":
        return title_of(str(value))
    if isinstance(value, str):
        return SAMPLER_TITLES.get(value) or metadata.title(value)
    return f"{value} {axis.title}" if axis.name in ("calls", "steps") else f"{axis.title} {value:g}"


def caption(request: Request, calls: int) -> str:
    """Return the caption of a cell: its numbers of steps and network calls per image."""
    steps = f"{request.steps} step{'s' * (request.steps != 1)}"
    cost = f"{steps}, {calls} call{'s' * (calls != 1)}"
    return f"{cost} and {request.steps} of the classifier" if request.classifier_scale else cost


def _footer(plan: Comparison, metadata: CheckpointMetadata) -> str:
    """Return the settings that all cells share."""
    base, varied = plan.base, {axis.name for axis in (plan.across, plan.down) if axis}
    names = metadata.class_names
    class_title = "all classes" if base.class_index is None else f"class {metadata.title(names[base.class_index])}"
    shared = {
        "checkpoint": f"model {title_of(plan.checkpoint)}",
        "class": class_title if names else "",
        "sampler": SAMPLER_TITLES[base.sampler],
        "guidance_scale": f"guidance {base.guidance_scale:g}" if base.guidance_scale != 1 else "",
        "classifier_scale": f"classifier guidance {base.classifier_scale:g}" if base.classifier_scale else "",
        "eta": f"eta {base.eta:g}" if base.eta and "sampler" not in varied else "",
        "seed": f"seed {base.seed}",
    }
    sentence = ", ".join(words for name, words in shared.items() if words and name not in varied)
    return f"{sentence[:1].upper()}{sentence[1:]}. {words.ONE_CALL}"


def settings_of(plan: Comparison) -> dict[str, Any]:
    """Return the settings that are stored in the grid's PNG."""
    header = {
        "program": f"diffusion_demo {__version__}",
        "made_by": "compare",
        "checkpoint": plan.checkpoint,
        "calls": plan.calls,
    }
    axes = {
        side: {"setting": axis.name, "values": list(axis.values)}
        for side, axis in (("across", plan.across), ("down", plan.down))
        if axis
    }
    return header | axes | {name: value for name, value in asdict(plan.base).items() if name != "steps"}
