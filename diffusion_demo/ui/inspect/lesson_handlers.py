"""Handlers of the lessons: the HTML of a lesson, and what its buttons compute."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.inspect.examples import default_images
from diffusion_demo.ui.inspect.lessons import words
from diffusion_demo.ui.server import limits, model_list, warmup
from diffusion_demo.ui.server.fair_queue import in_fair_queue

if TYPE_CHECKING:
    from diffusion_demo.ui.inspect.lessons.scene import Scene


class KeptResult(NamedTuple):
    """Cached result of a button: the terms of the bound or the HTML of finished images, with its cache key."""

    key: tuple
    result: Any


def show_lesson(lesson: str | None, *inputs_and_kept):
    """Return the HTML of a lesson, or no update for an unreadable image, which its field reports."""
    *inputs, kept = inputs_and_kept
    warmup.wait()
    from diffusion_demo.ui.inspect.image_file import UnreadableImage
    from diffusion_demo.ui.inspect.lessons import frame

    try:
        scene = load_scene_of(*inputs)
    except gr.Error as error:
        if isinstance(error.__cause__, UnreadableImage):
            return gr.skip()
        raise
    name = lesson or words.DEFAULT
    return frame.frame(name, scene, _content(name, scene, inputs, kept), _name_in_links(inputs[4]))


def _content(name: str, scene: "Scene", inputs: Sequence, kept: dict[str, KeptResult]) -> str:
    """Return the content of a lesson, with the cached result of its button if the cache key matches."""
    from diffusion_demo.ui.inspect.lessons import frame, likelihood

    if name not in kept or kept[name].key != result_key(name, scene, inputs):
        return frame.content(name, scene)
    result = kept[name].result
    if name == "likelihood":
        return likelihood.render(scene, result, len(scene.chain))
    return frame.content(name, scene) + result


def result_key(name: str, scene: "Scene", inputs: Sequence) -> tuple:
    """Return the cache key of a button's result, without t: the full bound and finished images do not depend on it."""
    image, _, seed, _, model, *_ = inputs
    return model, scene.checkpoint.weights, seed, image if name == "likelihood" else None


def _name_in_links(model: str) -> str:
    """Return the name of a model in links: nothing for the one that the page starts with."""
    return "" if model == model_list.DEFAULT_MODEL else model


def load_scene_of(
    image: str | None, other: str | None, seed: int, relative_t: float, model: str, across: float, down: float
) -> "Scene":
    """Load the model and the images of the inputs as a scene. Raises gr.Error."""
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


def make_animation(*inputs) -> gr.DownloadButton:
    """Write the walk as an animated WebP and return the update of its download button."""
    scene = load_scene_of(*inputs)
    from diffusion_demo.ui.inspect.lessons import forward

    target = Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"])) / f"walk_t{scene.t}_seed{scene.seed}.webp"
    target.write_bytes(forward.animation(scene, {"chain": scene.checkpoint.beta_schedule, "T": len(scene.chain)}))
    return gr.DownloadButton(value=str(target), visible=True)


@in_fair_queue(lambda words: [gr.skip(), gr.skip()])
def compute_whole_bound(*inputs_and_kept) -> Iterator[list]:
    """Compute the bound over all T timesteps, one network call each, and yield the growing lesson.

    In the end, yield the results to keep.
    """
    from diffusion_demo.ui.inspect.lessons import frame, likelihood

    *inputs, kept = inputs_and_kept
    scene, terms = load_scene_of(*inputs), []
    total = len(scene.chain)
    with user_errors_as_toasts():
        limits.check_network_calls(total)
    for term in likelihood.compute_terms(scene, None):
        terms.append(term)
        if len(terms) % max(1, total // 20) == 0 or len(terms) == total:
            content = likelihood.render(scene, terms, total)
            yield [frame.frame("likelihood", scene, content, _name_in_links(inputs[4])), gr.skip()]
    yield [gr.skip(), kept | {"likelihood": KeptResult(result_key("likelihood", scene, inputs), terms)}]


@in_fair_queue(lambda words: [gr.skip(), gr.skip()])
def regenerate_image(*inputs) -> Iterator[list]:
    """Sample from x_t in several ways, and yield the lesson on the reverse step with each figure as it is ready."""
    from diffusion_demo.ui.inspect.lessons import regenerate

    for html, _ in _growing("reverse", regenerate.parts, inputs[:-1]):
        yield [html, gr.skip()]


@in_fair_queue(lambda words: [gr.skip(), gr.skip()])
def generate_guided_samples(*inputs_and_kept) -> Iterator[list]:
    """Sample a class at several guidance scales, and yield the lesson on guidance with each row as it is ready."""
    from diffusion_demo.ui.inspect.lessons import guided_samples

    *inputs, kept = inputs_and_kept
    scene = load_scene_of(*inputs)
    for html, rows in _growing("guidance", guided_samples.parts, inputs):
        yield [html, kept | {"guidance": KeptResult(result_key("guidance", scene, inputs), rows)}]


def _growing(name: str, parts: Callable[["Scene"], Iterator[str]], inputs: Sequence) -> Iterator[tuple[str, str]]:
    """Yield the HTML of a lesson, which grows by one part each time, and the HTML of the parts alone."""
    from diffusion_demo.ui.inspect.lessons import frame

    scene, done = load_scene_of(*inputs), ""
    content = frame.content(name, scene)
    for part in parts(scene):
        done += part
        yield frame.frame(name, scene, content + done, _name_in_links(inputs[4])), done
