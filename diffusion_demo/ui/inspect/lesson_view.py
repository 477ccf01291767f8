"""Layout of the lessons below the explorer. The server computes them with a model for the image and t shown above."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.inspect.examples import default_images
from diffusion_demo.ui.inspect.file_change import file_path_in
from diffusion_demo.ui.inspect.lessons import words
from diffusion_demo.ui.server import limits, model_list, warmup
from diffusion_demo.ui.server.fair_queue import in_fair_queue

if TYPE_CHECKING:
    from diffusion_demo.ui.inspect.lessons.scene import Scene

DEFAULT_RELATIVE_T = 0.25
MAX_CONCURRENT_LESSONS = 2  # of all visitors together, because a lesson runs the network
BUSY = "() => document.dispatchEvent(new Event('lesson-busy'))"
DONE = "() => document.dispatchEvent(new Event('lesson-done'))"
PRESSED = "() => document.dispatchEvent(new Event('lesson-pressed'))"
COMPUTED = "() => document.dispatchEvent(new Event('lesson-computed'))"
# Read when the event is handled: Gradio dispatches a deferred event again with the details of the pending one.
SHOWN = "() => { const { t, lesson } = document.querySelector('#inspector').shown; return [t, lesson]; }"
_EVENT: dict[str, Any] = {
    "api_visibility": "private",
    "concurrency_limit": None,
    "show_progress": "hidden",
    "trigger_mode": "always_last",
}
_LESSON_EVENT: dict[str, Any] = _EVENT | {"concurrency_limit": MAX_CONCURRENT_LESSONS}
_BUTTON_EVENT: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": None, "show_progress": "hidden"}


class _Place(NamedTuple):
    """What the explorer shows: t / T, from 0 to 1, because models have different numbers of timesteps; the lesson."""

    relative_t: gr.Slider
    lesson: gr.Dropdown


class _PixelFields(NamedTuple):
    row: gr.Row
    across: gr.Slider
    down: gr.Slider


class _Kept(NamedTuple):
    """What a button has computed, the terms of the bound or the HTML of finished images, and what it belongs to."""

    key: tuple
    result: Any


class _WalkButtons(NamedTuple):
    row: gr.Row
    make: gr.Button
    download: gr.DownloadButton


def model_dropdown() -> gr.Dropdown:
    """Return the field of the model."""
    return gr.Dropdown(
        model_list.model_choices(),
        label="Model",
        info="All lessons use this model and its schedule. An exact model shows the ideal answer for its 16 images.",
        interactive=True,
        elem_id="lesson-model",
    )


def build(
    page: gr.Blocks, image: gr.Image, file: gr.Textbox, seed: gr.State, model: gr.Dropdown, inspector: gr.HTML
) -> gr.Dropdown:
    """Lay out the lessons and connect their events. They follow the image, the noise, t on release, and the model.

    `file` changes with the image. Returns the hidden field of the lesson's name.
    """
    view = gr.HTML(elem_classes="lesson", elem_id="lesson")
    walk = _walk_buttons()
    # The buttons that visitors see stand in the lessons, above what they add (html.computation), and press these.
    regenerate, finished, whole = (
        gr.Button(name, visible="hidden", elem_id=name) for name in ("regenerate", "guided-samples", "whole-bound")
    )
    other = _other_image()
    checked = other.upload(_check_image, other, None, **_EVENT)
    checked.failure(emptied_if_unreadable, other, other, **_EVENT)
    pixel = _pixel_fields()
    relative_t, lesson = _place()
    inputs = [image, other, seed, relative_t, model, pixel.across, pixel.down, gr.State({})]
    inspector.release(None, None, [relative_t, lesson], js=SHOWN, api_visibility="private")
    lesson.change(_show_controls, lesson, [walk.row, other, pixel.row], **_EVENT)
    walk.make.click(
        _animation,
        inputs[:-1],
        walk.download,
        api_visibility="private",
        concurrency_limit=None,
        show_progress_on=[walk.make],
    )
    moved = [component.change for component in (lesson, relative_t)]
    chosen = [component.change for component in (seed, file, model, file_path_in(other))]
    computations = {whole: _whole_bound, regenerate: _regenerate, finished: _guided_samples}
    _connect(moved, [*chosen, pixel.across.release, pixel.down.release], page, computations, [lesson, *inputs], view)
    return lesson


def _connect(
    moved: list, chosen: list, page: gr.Blocks, computations: dict[gr.Button, Callable], inputs: list, view: gr.HTML
) -> None:
    """Connect the lesson to every change, and the buttons to their computations.

    Neither may overwrite the other: a change cancels a running computation, a button a pending update of the lesson.
    The last of the inputs keeps the results of the buttons (_Kept).
    """
    computed: list[Any] = [
        button.click(None, js=PRESSED, api_visibility="private").then(
            compute, inputs[1:], [view, inputs[-1]], **_BUTTON_EVENT
        )
        for button, compute in computations.items()
    ]
    for event in computed:
        event.then(None, js=COMPUTED, api_visibility="private")
    # Gradio runs the listeners of an event one after another, so the one that cancels is added before the lesson's.
    gr.on([*moved, *chosen], None, cancels=computed, api_visibility="private")
    gr.on(chosen, None, js=BUSY, api_visibility="private")
    shown = gr.on([*moved, *chosen, page.load], _show, inputs, view, **_LESSON_EVENT)
    shown.then(None, js=DONE, api_visibility="private")
    gr.on([button.click for button in computations], None, cancels=[shown], api_visibility="private")


def _place() -> _Place:
    return _Place(
        gr.Slider(0, 1, DEFAULT_RELATIVE_T, step=1e-6, label="t / T", visible="hidden"),
        gr.Dropdown(list(words.LESSONS), value=words.DEFAULT, label="Lesson", visible="hidden"),
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
        placeholder="Drop an image or click to upload.\nUntil then, the second example is used.",
        elem_id="mix-with",
    )
    image.preprocess = lambda payload: payload and payload.path  # as in `tab`: the original file
    return image


def _walk_buttons() -> _WalkButtons:
    with gr.Row(elem_id="walk-row") as row:
        make = gr.Button("Create animation", size="sm", elem_id="make-walk")
        download = gr.DownloadButton("Download (WebP)", size="sm", visible=False, elem_id="walk")
    return _WalkButtons(row, make, download)


def _pixel_fields() -> _PixelFields:
    look: dict[str, Any] = {"step": 1, "min_width": 260, "buttons": [], "interactive": True}
    with gr.Row(visible=False, elem_id="pixel-fields") as row:
        across = gr.Slider(0, 100, 50, label="Pixel: % from the left", **look)
        down = gr.Slider(0, 100, 50, label="Pixel: % from the top", **look)
    return _PixelFields(row, across, down)


def _show_controls(lesson: str) -> list:
    """Return the updates that show the controls of a lesson and hide those of the others."""
    return [
        gr.Row(visible=lesson == "forward"),
        gr.Image(visible=lesson == "reverse"),
        gr.Row(visible=lesson in ("reverse", "likelihood")),
    ]


def _show(lesson: str | None, *inputs_and_kept):
    """Return the HTML of a lesson, or no update for an unreadable image, which its field reports."""
    *inputs, kept = inputs_and_kept
    warmup.wait()
    from diffusion_demo.ui.inspect.image_file import UnreadableImage
    from diffusion_demo.ui.inspect.lessons import frame

    try:
        scene = _load_scene(*inputs)
    except gr.Error as error:
        if isinstance(error.__cause__, UnreadableImage):
            return gr.skip()
        raise
    name = lesson or words.DEFAULT
    return frame.frame(name, scene, _content(name, scene, inputs, kept), _name_in_links(inputs[4]))


def _content(name: str, scene: "Scene", inputs: Sequence, kept: dict[str, _Kept]) -> str:
    """Return the content of a lesson, with what a button has computed for the same model, noise and image."""
    from diffusion_demo.ui.inspect.lessons import frame, likelihood

    if name not in kept or kept[name].key != _key(name, scene, inputs):
        return frame.content(name, scene)
    result = kept[name].result
    if name == "likelihood":
        return likelihood.render(scene, result, len(scene.chain))
    return frame.content(name, scene) + result


def _key(name: str, scene: "Scene", inputs: Sequence) -> tuple:
    """Return what the result of a button belongs to. Neither the sum over all t nor finished images depend on t."""
    image, _, seed, _, model, *_ = inputs
    return model, scene.checkpoint.weights, seed, image if name == "likelihood" else None


def _name_in_links(model: str) -> str:
    """Return the name of a model in links: nothing for the one that the page starts with."""
    return "" if model == model_list.DEFAULT_MODEL else model


def emptied_if_unreadable(path: str | None) -> Any:
    """Return the update of an image field after an error: None, which empties it, if its file cannot be read."""
    from diffusion_demo.ui.inspect.explorer_data import load_square
    from diffusion_demo.ui.inspect.image_file import UnreadableImage

    try:
        if path:
            load_square(path)
    except UnreadableImage:
        return None
    return gr.skip()


def _check_image(path: str | None) -> None:
    """Raise gr.Error for an image that cannot be read."""
    warmup.wait()
    from diffusion_demo.ui.inspect.explorer_data import load_square

    if path:
        with user_errors_as_toasts():
            load_square(path)


def _load_scene(
    image: str | None, other: str | None, seed: int, relative_t: float, model: str, across: float, down: float
) -> "Scene":
    """Return the scene of the inputs. Raises gr.Error."""
    warmup.wait()
    from diffusion_demo.ui.inspect.lessons.scene import load_scene
    from diffusion_demo.ui.server.model_cache import load

    first, second = default_images()
    with user_errors_as_toasts():
        checkpoint = load(model_list.folder_of(model))
        scene = load_scene(
            image or first, other or second, int(seed), relative_t, checkpoint, (across / 100, down / 100)
        )
        return scene if other else replace(scene, other_name="the second example (<em>Blend with</em> is empty)")


def _animation(*inputs) -> gr.DownloadButton:
    """Write the walk as an animated WebP and return the update of its download button."""
    scene = _load_scene(*inputs)
    from diffusion_demo.ui.inspect.lessons import forward

    target = Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"])) / f"walk_t{scene.t}_seed{scene.seed}.webp"
    target.write_bytes(forward.animation(scene, {"chain": scene.checkpoint.beta_schedule, "T": len(scene.chain)}))
    return gr.DownloadButton(value=str(target), visible=True)


@in_fair_queue(lambda words: [gr.skip(), gr.skip()])
def _whole_bound(*inputs_and_kept) -> Iterator[list]:
    """Compute the bound over all T timesteps, one network call each, and yield the growing lesson.

    In the end, yield the results to keep.
    """
    from diffusion_demo.ui.inspect.lessons import frame, likelihood

    *inputs, kept = inputs_and_kept
    scene, terms = _load_scene(*inputs), []
    total = len(scene.chain)
    with user_errors_as_toasts():
        limits.check_network_calls(total)
    for term in likelihood.compute_terms(scene, None):
        terms.append(term)
        if len(terms) % max(1, total // 20) == 0 or len(terms) == total:
            content = likelihood.render(scene, terms, total)
            yield [frame.frame("likelihood", scene, content, _name_in_links(inputs[4])), gr.skip()]
    yield [gr.skip(), kept | {"likelihood": _Kept(_key("likelihood", scene, inputs), terms)}]


@in_fair_queue(lambda words: [gr.skip(), gr.skip()])
def _regenerate(*inputs) -> Iterator[list]:
    """Sample from x_t in several ways, and yield the lesson on the reverse step with each figure as it is ready."""
    from diffusion_demo.ui.inspect.lessons import regenerate

    for html, _ in _growing("reverse", regenerate.parts, inputs[:-1]):
        yield [html, gr.skip()]


@in_fair_queue(lambda words: [gr.skip(), gr.skip()])
def _guided_samples(*inputs_and_kept) -> Iterator[list]:
    """Sample a class at several guidance scales, and yield the lesson on guidance with each row as it is ready."""
    from diffusion_demo.ui.inspect.lessons import guided_samples

    *inputs, kept = inputs_and_kept
    scene = _load_scene(*inputs)
    for html, rows in _growing("guidance", guided_samples.parts, inputs):
        yield [html, kept | {"guidance": _Kept(_key("guidance", scene, inputs), rows)}]


def _growing(name: str, parts: Callable[["Scene"], Iterator[str]], inputs: Sequence) -> Iterator[tuple[str, str]]:
    """Yield the HTML of the lesson of this name with one more part each time, and that of the parts alone."""
    from diffusion_demo.ui.inspect.lessons import frame

    scene, done = _load_scene(*inputs), ""
    content = frame.content(name, scene)
    for part in parts(scene):
        done += part
        yield frame.frame(name, scene, content + done, _name_in_links(inputs[4])), done
