"""Layout of the panels below the explorer. The server computes them with a model for the image and t shown above."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from diffusion_demo.models.metadata import ORACLES
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.inspect import panels
from diffusion_demo.ui.inspect.examples import default_images
from diffusion_demo.ui.server import limits, model_list, warmup
from diffusion_demo.ui.server.event_details import ExplorerTimestep, takes_details
from diffusion_demo.ui.server.fair_queue import in_fair_queue

if TYPE_CHECKING:
    from diffusion_demo.ui.inspect.panels.scene import Scene

DEFAULT_RELATIVE_T = 0.25
MAX_CONCURRENT_PANELS = 2  # of all visitors together, because a panel runs the network
PERFECT = (
    "This is no network but the best possible answer for sixteen images, and only for them: on yours it can but see "
    "one of its own. A network that answered like it would only repeat what it was trained on; that it errs a little "
    "on those is how it makes new ones."
)
_EVENT: dict[str, Any] = {
    "api_visibility": "private",
    "concurrency_limit": None,
    "show_progress": "hidden",
    "trigger_mode": "always_last",
}
_PANEL_EVENT: dict[str, Any] = _EVENT | {"concurrency_limit": MAX_CONCURRENT_PANELS}


class _PixelFields(NamedTuple):
    row: gr.Row
    across: gr.Slider
    down: gr.Slider


class _WalkButtons(NamedTuple):
    row: gr.Row
    make: gr.Button
    download: gr.DownloadButton


def build(page: gr.Blocks, image: gr.Image, seed: gr.State, inspector: gr.HTML) -> None:
    """Lay out the panels and connect their events. They follow the image, the noise, t on release, and the model."""
    model, panel = _model_dropdown(), _panel_radio()
    other = _other_image()
    view = gr.HTML(elem_classes="lesson", elem_id="lesson")
    walk = _walk_buttons()
    whole = gr.Button("Measure over all steps", size="sm", visible=False, elem_id="whole-bound")
    pixel = _pixel_fields()
    relative_t = gr.State(DEFAULT_RELATIVE_T)
    inputs = [image, other, seed, relative_t, model, pixel.across, pixel.down]
    inspector.release(_relative_t, None, relative_t, **_EVENT)
    panel.change(_show_controls, panel, [walk.row, other, whole, pixel.row], **_EVENT)
    walk.make.click(
        _animation,
        inputs,
        walk.download,
        api_visibility="private",
        concurrency_limit=None,
        show_progress_on=[walk.make],
    )
    changes = [component.change for component in (panel, relative_t, seed, image, model, other)]
    triggers = [*changes, pixel.across.release, pixel.down.release, page.load]
    gr.on(triggers, _show, [panel, *inputs], view, **_PANEL_EVENT)
    whole.click(_whole_bound, inputs, view, api_visibility="private", concurrency_limit=None, show_progress="hidden")
    page.load(lambda name: gr.Dropdown(model_list.model_choices(), value=name), model, model, **_EVENT)


def _model_dropdown() -> gr.Dropdown:
    return gr.Dropdown(
        model_list.model_choices(),
        label="Model",
        info="The lessons below use this model and its own schedule. Choose an exact model to see the ideal answer.",
        interactive=True,
        elem_id="lesson-model",
    )


def _panel_radio() -> gr.Radio:
    return gr.Radio(
        [(title, name) for name, title in panels.TITLES.items()],
        value=next(iter(panels.TITLES)),
        show_label=False,
        container=False,
        elem_id="lesson-panel",
    )


def _other_image() -> gr.Image:
    image = gr.Image(
        label="Blend with",
        type="filepath",
        sources=["upload"],
        format="png",
        height=140,
        buttons=[],
        visible=False,
        elem_id="mix-with",
    )
    image.preprocess = lambda payload: payload and payload.path  # as in `tab`: the original file
    return image


def _walk_buttons() -> _WalkButtons:
    with gr.Row() as row:
        make = gr.Button("Create animation", size="sm", elem_id="make-walk")
        download = gr.DownloadButton("Download (WebP)", size="sm", visible=False, elem_id="walk")
    return _WalkButtons(row, make, download)


def _pixel_fields() -> _PixelFields:
    look: dict[str, Any] = {"step": 1, "min_width": 140, "buttons": [], "interactive": True}
    with gr.Row(visible=False) as row:
        across = gr.Slider(0, 100, 50, label="Pixel: % from the left", **look)
        down = gr.Slider(0, 100, 50, label="Pixel: % from the top", **look)
    return _PixelFields(row, across, down)


def _show_controls(panel: str) -> list:
    """Return the updates that show the controls of a panel and hide those of the others."""
    return [
        gr.Row(visible=panel == "markov"),
        gr.Image(visible=panel == "back"),
        gr.Button(visible=panel == "bound"),
        gr.Row(visible=panel in ("reverse", "decoder")),
    ]


@takes_details(ExplorerTimestep)
def _relative_t(event: gr.EventData) -> float:
    """Return t / T of the explorer, from 0 to 1, because models have different numbers of timesteps."""
    data: Any = event  # the fields of an event are dynamic attributes
    try:
        relative = float(data.t) / float(data.T)
    except (AttributeError, TypeError, ValueError, ZeroDivisionError):  # a request that is not from the explorer
        return DEFAULT_RELATIVE_T
    return relative if 0 <= relative <= 1 else DEFAULT_RELATIVE_T


def _show(panel: str, *inputs):
    """Return the HTML of a panel, or no update for an unreadable image, which the explorer reports."""
    warmup.wait()
    from diffusion_demo.data import UNREADABLE

    model = inputs[4]
    try:
        scene = _load_scene(*inputs)
        return (f'<p class="perfect">{PERFECT}</p>' if model in ORACLES else "") + panels.show(panel, scene)
    except UNREADABLE:
        return gr.skip()


def _load_scene(
    image: str | None, other: str | None, seed: int, relative_t: float, model: str, across: float, down: float
) -> "Scene":
    """Return the scene of the inputs. Raises gr.Error."""
    warmup.wait()
    from diffusion_demo.ui.inspect.panels.scene import load_scene
    from diffusion_demo.ui.server.model_cache import load

    first, second = default_images()
    with user_errors_as_toasts():
        checkpoint = load(model_list.folder_of(model))
        return load_scene(
            image or first,
            other or second,
            int(seed),
            relative_t,
            checkpoint,
            (across / 100, down / 100),
        )


def _animation(*inputs) -> gr.DownloadButton:
    """Write the walk as an animated WebP and return the update of its download button."""
    scene = _load_scene(*inputs)
    from diffusion_demo.ui.inspect.panels import markov

    target = Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"])) / f"walk_t{scene.t}_seed{scene.seed}.webp"
    target.write_bytes(markov.animation(scene, {"chain": scene.checkpoint.beta_schedule, "T": len(scene.chain)}))
    return gr.DownloadButton(value=str(target), visible=True)


@in_fair_queue(lambda words: gr.skip())
def _whole_bound(*inputs) -> Iterator[str]:
    """Compute the bound over all T timesteps, one network call each, and yield the growing panel."""
    from diffusion_demo.ui.inspect.panels import bound

    scene, terms = _load_scene(*inputs), []
    total = len(scene.chain)
    with user_errors_as_toasts():
        limits.check_network_calls(total)
    for term in bound.compute_terms(scene, None):
        terms.append(term)
        if len(terms) % max(1, total // 20) == 0 or len(terms) == total:
            yield f'<div id="panel-bound">{bound.render(scene, terms, total)}</div>'
