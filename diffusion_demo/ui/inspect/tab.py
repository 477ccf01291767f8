"""Inspect tab: six lessons on diffusion models, with an image, a model and t."""

import os
import random
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.paths import read_asset
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.event_options import LATEST_EVENT, UNLIMITED_EVENT
from diffusion_demo.ui.inspect import lesson_view
from diffusion_demo.ui.inspect.examples import OF_A_RUN, default_images, examples, image_like
from diffusion_demo.ui.inspect.file_change import file_path_in
from diffusion_demo.ui.inspect.image_check import emptied_if_unreadable
from diffusion_demo.ui.inspect.lessons import words
from diffusion_demo.ui.server import model_list, warmup

NUM_TIMESTEPS = 1000
STEPS_INFO = "For comparison. From 2 to 4000."
SCRIPTS = (
    *("inspector.js", "inspector_plots.js", "inspector_schedules.js", "inspector_link.js", "inspector_keep.js"),
    *("inspector_figure.js", "inspector_lessons.js", "inspector_events.js"),
)
_EVENT: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden"}


def build(page: gr.Blocks, tabs: gr.Tabs) -> gr.Dropdown:
    """Lay out the tab and connect its events. Return the field of the model.

    A link may contain the tab, an example, T and the noise seed. Its t and schedule are read by the browser.
    """
    with gr.Row(elem_id="inspect-what"):
        with gr.Column(scale=4, min_width=300):
            model = lesson_view.model_dropdown()
            num_timesteps, new_noise = _chain_fields()
        with gr.Column(scale=4, min_width=150):
            image = _image()
            file = file_path_in(image)
        with gr.Column(scale=3, min_width=150):
            gr.Examples(
                [[str(path)] for path in examples().values()],
                image,
                label="Examples",
                examples_per_page=8,
                elem_id="examples",
            )
    template = read_asset("inspect/inspector.html").replace("NAVIGATION", words.navigation())
    inspector = gr.HTML(
        None,
        html_template=template.replace("HEADS", words.heads()).replace("WAYS_ON", words.ways_on()),
        js_on_load="\n".join(read_asset(f"inspect/{name}") for name in SCRIPTS),
        elem_id="inspector",
    )
    seed, steps = gr.State(0), gr.State(NUM_TIMESTEPS)
    lesson = lesson_view.build(page, image, file, seed, model, inspector)
    page.load(_select_tab, None, tabs, **UNLIMITED_EVENT)
    page.load(_open_link, None, [image, num_timesteps, seed, steps, model, inspector], **UNLIMITED_EVENT)
    new_noise.click(lambda: random.randrange(2**31), None, seed, **UNLIMITED_EVENT)
    entered = [num_timesteps.submit, num_timesteps.blur]
    gr.on(entered, _set_num_timesteps, num_timesteps, [steps, num_timesteps], **LATEST_EVENT)
    gr.on([lesson.change, model.change], _own_steps, [lesson, model], [steps, num_timesteps], **UNLIMITED_EVENT)
    _connect_explorer(image, file, model, seed, steps, inspector)
    return model


def _connect_explorer(
    image: gr.Image, file: gr.Textbox, model: gr.Dropdown, seed: gr.State, steps: gr.State, inspector: gr.HTML
) -> None:
    """Connect the explorer to its image, and the image to the model."""
    changes = [component.change for component in (file, seed, steps)]
    inspected = gr.on(
        changes, _inspect, [image, seed, steps], inspector, api_name="inspect", trigger_mode="always_last", **_EVENT
    )
    inspected.failure(emptied_if_unreadable, image, image, **UNLIMITED_EVENT)
    model.change(_image_of_model, [model, image], image, **UNLIMITED_EVENT)


def refresh_models(model: str | None) -> gr.Dropdown:
    """Return the update of the model when the tab opens, as on the Sample tab."""
    return model_list.refreshed(model)[0]


def _own_steps(lesson: str, model: str) -> list:
    """Return the updates of T and of its field: only the lesson on schedules lets it differ from the model's own."""
    if lesson == "schedules":
        return [gr.skip(), gr.update(visible=True)]
    steps = load_metadata(model_list.folder_of(model)).num_train_timesteps
    return [steps, gr.update(value=steps, visible=False, info=STEPS_INFO, elem_classes=[])]


def _chain_fields() -> tuple[gr.Number, gr.Button]:
    """Return the field of T and the button for new noise."""
    with gr.Row(elem_id="inspect-how"):
        num_timesteps = gr.Number(
            NUM_TIMESTEPS,
            label="T, the number of steps",
            info=STEPS_INFO,
            scale=2,
            min_width=170,
            visible=False,
            elem_id="inspect-steps",
        )
        return num_timesteps, gr.Button("New noise", size="sm", scale=1, min_width=110, elem_id="new-noise")


def _image() -> gr.Image:
    image = gr.Image(
        label="Image",
        type="filepath",
        sources=["upload", "clipboard"],
        format="png",
        height=200,
        buttons=[],
        placeholder="Drop an image or click to upload.\nUntil then, the first example is shown.",
        elem_id="inspect-image",
    )
    # The handler receives the original file: gradio's decoding raises an error without a message for a broken image.
    image.preprocess = lambda payload: payload and payload.path
    return image


def _select_tab(request: gr.Request):
    return gr.Tabs(selected="inspect") if request.query_params.get("tab") == "inspect" else gr.skip()


def _open_link(request: gr.Request) -> list:
    """Return the image, T (in its field and in use), the seed, the model and the explorer's value of a link.

    Invalid parameters are replaced by their defaults.
    """
    warmup.wait()
    from diffusion_demo.ui.inspect import explorer_data

    parameters = request.query_params
    path = examples().get(parameters.get("example"), default_images()[0])
    noise = parameters.get("noise", "")
    seed = int(noise) if re.fullmatch("[0-9]{1,10}", noise) else 0
    model = parameters.get("model")
    folder = model_list.model_folders().get(model or model_list.DEFAULT_MODEL)
    steps = load_metadata(folder).num_train_timesteps if folder else NUM_TIMESTEPS
    if parameters.get("lesson", "schedules") == "schedules":  # the others keep to the model's own T
        with suppress(ValueError):
            steps = explorer_data.parse_num_timesteps(float(parameters.get("T", steps)))
    # One event sets both the choices of the model and its value: two would overwrite each other.
    value = {"value": model} if model and folder else {}
    served, chosen = _copy_to_cache(path), gr.Dropdown(choices=model_list.model_choices(), **value)
    return [served, steps, seed, steps, chosen, _inspect(served, seed, steps)]


def _copy_to_cache(path: Path) -> str:
    """Copy a file to Gradio's cache, from which the browser may fetch it, and return the path of the copy."""
    return save_file_to_cache(path, os.environ["GRADIO_TEMP_DIR"])


def _image_of_model(model: str, shown: str | None) -> Any:
    """Return the image to show with a model: one of its own kind, unless the visitor has chosen another."""
    bundled, kind = default_images()[0], image_like(model_list.folder_of(model))
    is_own = shown is not None and Path(shown).name not in (bundled.name, OF_A_RUN)
    return gr.skip() if is_own or (kind is None and shown is None) else _copy_to_cache(kind or bundled)


def _set_num_timesteps(value: float | None) -> list:
    """Return the updates of T and of its field. An invalid T leaves T as it is and shows the error below the field."""
    warmup.wait()
    from diffusion_demo.ui.inspect import explorer_data

    try:
        return [explorer_data.parse_num_timesteps(value), gr.update(info=STEPS_INFO, elem_classes=[])]
    except BadInput as error:
        return [gr.skip(), gr.update(info=str(error), elem_classes=["wrong"])]


def _inspect(path: str | None, seed: int, steps: int) -> dict[str, Any]:
    """Return the explorer's value: image, noise and the tables of every schedule. Raises gr.Error."""
    warmup.wait()
    from diffusion_demo.ui.inspect import explorer_data

    file = Path(path) if path else default_images()[0]
    with user_errors_as_toasts():
        pixels = explorer_data.load_square(file)
    names = (name for name, example in examples().items() if example.read_bytes() == file.read_bytes())
    return explorer_data.make_explorer_value(pixels, int(seed), int(steps), next(names, None))
