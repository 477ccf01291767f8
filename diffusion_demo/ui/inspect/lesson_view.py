"""Layout of the lessons below the explorer. The server computes them with a model for the image and t shown above."""

from collections.abc import Callable
from typing import Any, NamedTuple

import gradio as gr

from diffusion_demo.ui.event_options import LATEST_EVENT, UNLIMITED_EVENT
from diffusion_demo.ui.inspect import image_check, lesson_handlers
from diffusion_demo.ui.inspect.file_change import file_path_in
from diffusion_demo.ui.inspect.lessons import words
from diffusion_demo.ui.server import model_list

DEFAULT_RELATIVE_T = 0.25
MAX_CONCURRENT_LESSONS = 2  # of all visitors together, because a lesson runs the network
BUSY = "() => document.dispatchEvent(new Event('lesson-busy'))"
DONE = "() => document.dispatchEvent(new Event('lesson-done'))"
PRESSED = "() => document.dispatchEvent(new Event('lesson-pressed'))"
COMPUTED = "() => document.dispatchEvent(new Event('lesson-computed'))"
# Read when the event is handled: Gradio dispatches a deferred event again with the details of the pending one.
SHOWN = "() => { const { t, lesson } = document.querySelector('#inspector').shown; return [t, lesson]; }"
_LESSON_EVENT: dict[str, Any] = LATEST_EVENT | {"concurrency_limit": MAX_CONCURRENT_LESSONS}


class _Place(NamedTuple):
    """What the explorer shows: t / T, from 0 to 1, because models have different numbers of timesteps; the lesson."""

    relative_t: gr.Slider
    lesson: gr.Dropdown


class _PixelFields(NamedTuple):
    row: gr.Row
    across: gr.Slider
    down: gr.Slider


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
    checked = other.upload(image_check.check_image, other, None, **LATEST_EVENT)
    checked.failure(image_check.emptied_if_unreadable, other, other, **LATEST_EVENT)
    pixel = _pixel_fields()
    relative_t, lesson = _place()
    inputs = [image, other, seed, relative_t, model, pixel.across, pixel.down, gr.State({})]
    inspector.release(None, None, [relative_t, lesson], js=SHOWN, api_visibility="private")
    lesson.change(_show_controls, lesson, [walk.row, other, pixel.row], **LATEST_EVENT)
    walk.make.click(
        lesson_handlers.make_animation,
        inputs[:-1],
        walk.download,
        api_visibility="private",
        concurrency_limit=None,
        show_progress_on=[walk.make],
    )
    moved = [component.change for component in (lesson, relative_t)]
    chosen = [component.change for component in (seed, file, model, file_path_in(other))]
    computations = {
        whole: lesson_handlers.compute_whole_bound,
        regenerate: lesson_handlers.regenerate_image,
        finished: lesson_handlers.generate_guided_samples,
    }
    _connect(moved, [*chosen, pixel.across.release, pixel.down.release], page, computations, [lesson, *inputs], view)
    return lesson


def _connect(
    moved: list, chosen: list, page: gr.Blocks, computations: dict[gr.Button, Callable], inputs: list, view: gr.HTML
) -> None:
    """Connect the lesson to every change, and the buttons to their computations.

    Neither may overwrite the other: a change cancels a running computation, a button a pending update of the lesson.
    The last of the inputs keeps the results of the buttons (KeptResult).
    """
    computed: list[Any] = [
        button.click(None, js=PRESSED, api_visibility="private").then(
            compute, inputs[1:], [view, inputs[-1]], **UNLIMITED_EVENT
        )
        for button, compute in computations.items()
    ]
    for event in computed:
        event.then(None, js=COMPUTED, api_visibility="private")
    # Gradio runs the listeners of an event one after another, so the one that cancels is added before the lesson's.
    gr.on([*moved, *chosen], None, cancels=computed, api_visibility="private")
    gr.on(chosen, None, js=BUSY, api_visibility="private")
    shown = gr.on([*moved, *chosen, page.load], lesson_handlers.show_lesson, inputs, view, **_LESSON_EVENT)
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
