"""Below the explorer of the Inspect tab: the panels that ask a model, worked out on the server for the image and the t that are shown above."""

import os
import tempfile
from pathlib import Path

import gradio as gr
from gradio.media import get_image

from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import ORACLES
from diffusion_demo.ui.inspect import panels
from diffusion_demo.ui.server import model_list, warmup

FIRST, SECOND = "lion.jpg", "cheetah1.jpg"
FIRST_SHARE = 0.25
PANELS_AT_ONCE = 2  # of all visitors: each asks the network
PERFECT = (
    "This is no network but the best possible answer for sixteen images, and only for them: on yours it can but see one of its own. "
    "A network that answered like it would only repeat what it was trained on; that it errs a little on those is how it makes new ones."
)


def build(page: gr.Blocks, image: gr.Image, seed: gr.State, inspector: gr.HTML) -> None:
    """Lay the panels out, one to be chosen, and wire them: it follows the image, the noise, t (when it is let go) and the model."""
    model = gr.Dropdown(
        model_list.titles(),
        label="Model",
        info="The panels ask it, at t on its own noise schedule. A perfect one shows what the best answer is.",
        interactive=True,
        elem_id="lesson-model",
    )
    panel = gr.Radio(
        [(title, name) for name, title in panels.TITLES.items()],
        value=next(iter(panels.TITLES)),
        show_label=False,
        container=False,
        elem_id="lesson-panel",
    )
    other = gr.Image(
        label="Mix with",
        type="filepath",
        sources=["upload"],
        format="png",
        height=140,
        buttons=[],
        visible=False,
        elem_id="mix-with",
    )
    other.preprocess = lambda payload: payload and payload.path
    view = gr.HTML(elem_classes="lesson", elem_id="lesson")
    with gr.Row() as walk:
        make = gr.Button("Make an animation of the walk", size="sm", elem_id="make-walk")
        made = gr.DownloadButton("Download it as WebP", size="sm", visible=False, elem_id="walk")
    whole = gr.Button("Measure it over all steps", size="sm", visible=False, elem_id="whole-bound")
    with gr.Row(visible=False) as pixel:
        across = gr.Slider(
            0, 100, 50, step=1, label="Pixel: % from the left", min_width=140, buttons=[], interactive=True
        )
        down = gr.Slider(0, 100, 50, step=1, label="Pixel: % from the top", min_width=140, buttons=[], interactive=True)
    share = gr.State(FIRST_SHARE)
    seen = [image, other, seed, share, model, across, down]
    quiet = {
        "api_visibility": "private",
        "concurrency_limit": None,
        "show_progress": "hidden",
        "trigger_mode": "always_last",
    }
    inspector.release(_share, None, share, **quiet)
    panel.change(_beside, panel, [walk, other, whole, pixel], **quiet)
    make.click(_animation, seen, made, api_visibility="private", concurrency_limit=None, show_progress_on=[make])
    anything = [
        panel.change,
        share.change,
        seed.change,
        image.change,
        model.change,
        other.change,
        across.release,
        down.release,
        page.load,
    ]
    gr.on(anything, _show, [panel, *seen], view, **quiet | {"concurrency_limit": PANELS_AT_ONCE})
    whole.click(_whole_bound, seen, view, api_visibility="private", concurrency_id="sampling", show_progress="hidden")
    page.load(lambda name: gr.Dropdown(model_list.titles(), value=name), model, model, **quiet)


def _beside(panel: str) -> list:
    """What only some panels have beside them."""
    return [
        gr.Row(visible=panel == "markov"),
        gr.Image(visible=panel == "back"),
        gr.Button(visible=panel == "bound"),
        gr.Row(visible=panel in ("reverse", "decoder")),
    ]


def _share(event: gr.EventData) -> float:
    """Where the explorer's t stands in its chain, from 0 to 1: models may have another number of steps."""
    try:
        share = float(event.t) / float(event.T)
    except (AttributeError, TypeError, ValueError, ZeroDivisionError):  # not from the explorer
        share = FIRST_SHARE
    return share if 0 <= share <= 1 else FIRST_SHARE


def _show(panel: str, *seen):
    """The panel's HTML; the last one stays where the image cannot be read, which the explorer says."""
    warmup.wait()
    from diffusion_demo.data import UNREADABLE

    try:
        scene = _scene(*seen)
        return (f'<p class="perfect">{PERFECT}</p>' if seen[4] in ORACLES else "") + panels.show(panel, scene)
    except UNREADABLE:
        return gr.skip()


def _scene(image: str | None, other: str | None, seed: int, share: float, model: str, across: float, down: float):
    warmup.wait()
    from diffusion_demo.ui.inspect.panels.scene import scene_of
    from diffusion_demo.ui.server.model_cache import load

    try:
        checkpoint = load(model_list.folder_of(model))
        return scene_of(
            image or get_image(FIRST),
            other or get_image(SECOND),
            int(seed),
            share,
            checkpoint,
            (across / 100, down / 100),
        )
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error


def _animation(*seen):
    scene = _scene(*seen)
    from diffusion_demo.ui.inspect.panels import markov

    target = Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"])) / f"walk_t{scene.t}_seed{scene.seed}.webp"
    target.write_bytes(markov.animation(scene, {"chain": scene.checkpoint.beta_schedule, "T": len(scene.chain)}))
    return gr.DownloadButton(value=str(target), visible=True)


def _whole_bound(*seen):
    """The bound over every step of the chain, which takes as many calls of the network: the curve grows while they are made."""
    from diffusion_demo.ui.inspect.panels import bound

    scene, terms = _scene(*seen), []
    total = len(scene.chain)
    for term in bound.terms_of(scene, None):
        terms.append(term)
        if len(terms) % max(1, total // 20) == 0 or len(terms) == total:
            yield f'<div id="panel-bound">{bound.shown(scene, terms, total)}</div>'
