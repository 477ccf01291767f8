"""Sample tab: generate images, compare settings, make variations, and keep a history."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import has_classifier
from diffusion_demo.sampling.presets import USUAL_GUIDANCE_SCALE
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.named_outputs import with_named_outputs
from diffusion_demo.ui.preview.preview import INSTANT_EVENT, PRIVATE_EVENT
from diffusion_demo.ui.sample import browser_history, compare_view, generate_view, import_model, restore, vary_view
from diffusion_demo.ui.sample.request_form import MIXED, class_choices, upsampler_for
from diffusion_demo.ui.server import warmup
from diffusion_demo.ui.server.event_details import ShownImage, ShownSettings, takes_details
from diffusion_demo.ui.server.model_list import folder_of, model_choices, model_folders
from diffusion_demo.ui.settings import settings

SHOWS = {
    "ddpm": "sampler",
    "ddim": "sampler",
    "dpm_solver": "sampler",
    "p": "what the network expects",
    "spaced_timesteps": "steps",
    "log_snr_timesteps": "steps",
    "respaced": "steps",
    "classifier_free": "guidance",
    "classifier_gradient": "classifier guidance",
    "shift_mean": "classifier guidance",
    "shift_eps": "classifier guidance",
    "gaussian": "model",
    "mixture": "model",
    "finite_set": "model",
    "pixels": "model",
}
UNLIMITED_EVENT: dict[str, Any] = PRIVATE_EVENT | {"concurrency_limit": None}


def build(page: gr.Blocks) -> list[gr.components.Component]:
    """Lay out the tab and connect its events.

    Return the components that change when another tab opens a model: model, class and guidance scale.
    """
    listed = model_folders()
    first = next(iter(listed))
    metadata = load_metadata(listed[first])
    with gr.Row(elem_id="sample-what"):
        model = gr.Dropdown(model_choices(), value=first, label="Model", min_width=140, interactive=True)
        label = gr.Dropdown(class_choices(metadata), value=MIXED, label="Class", min_width=140, interactive=True)
    with gr.Tabs(elem_id="sample-ways") as modes:
        with gr.Tab("Make", id="make"):
            form = generate_view.build(model, label)
        with gr.Tab("Compare", id="compare"):
            compare = compare_view.build(model, label, form)
        with gr.Tab("Vary", id="vary"):
            vary = vary_view.build(model, label, form)
    gallery = browser_history.history()
    if settings().anywhere:
        imported = import_model.build(model)
        imported.success(show_classes, [model, label], [label, form.fields["guidance_scale"]], **INSTANT_EVENT)
    _connect_history(gallery, modes, model, label, form, vary)
    page.load(_enable_start_buttons, None, [form.start, compare, *vary.starts], **UNLIMITED_EVENT)
    page.load(_refresh_models, model, model, **UNLIMITED_EVENT)
    model.input(show_classes, [model, label], [label, form.fields["guidance_scale"]], **INSTANT_EVENT)
    show_optional_fields = with_named_outputs(_show_optional_fields, form.optional)
    gr.on([page.load, model.change], show_optional_fields, model, [*form.optional.values()], **INSTANT_EVENT)
    return [model, label, form.fields["guidance_scale"]]


def _connect_history(
    gallery: gr.HTML,
    modes: gr.Tabs,
    model: gr.Dropdown,
    label: gr.Dropdown,
    form: generate_view.SampleForm,
    vary: vary_view.VaryForm,
) -> None:
    """Connect the events of the image viewer, which history.js triggers on the history component."""
    events: Any = gallery  # gr.HTML creates custom events on attribute access
    used = form.restored | {"modes": modes}
    events.use_this(with_named_outputs(_use_settings, used), None, [*used.values()], **UNLIMITED_EVENT)
    for event, mode, image in (
        (events.vary_this, vary_view.ONE, vary.one),
        (events.mix_this, vary_view.TWO, vary.two),
    ):
        event(None, None, image, js=browser_history.SENT_IMAGE)
        event(_switch_to_vary(mode), [model, label], [modes, vary.mode, model, label], **UNLIMITED_EVENT)


def _enable_start_buttons() -> list[gr.Button]:
    """Return the updates of the start buttons once warm-up is complete."""
    warmup.wait()
    return [
        gr.Button(words, interactive=True)
        for words in (generate_view.GENERATE, compare_view.COMPARE, vary_view.VARY, vary_view.MIX)
    ]


def _refresh_models(model: str) -> gr.Dropdown:
    names = list(model_folders())
    return gr.Dropdown(model_choices(), value=model if model in names else names[0])


def show_classes(model: str, label: str) -> tuple[gr.Dropdown, gr.Slider]:
    """Return the updates of the class and of the guidance scale for a model. Raises gr.Error."""
    with user_errors_as_toasts():
        metadata = load_metadata(folder_of(model))
    selected = label if label in metadata.class_names else MIXED
    guidance = USUAL_GUIDANCE_SCALE if metadata.guidance else 1.0
    return (
        gr.Dropdown(class_choices(metadata), value=selected),
        gr.Slider(value=guidance, interactive=metadata.guidance),
    )


def _show_optional_fields(model: str) -> dict[str, Any]:
    """Return the updates of `SampleForm.optional`, which hide and reset the fields that the model does not support."""
    with user_errors_as_toasts():
        folder = folder_of(model)
        metadata = load_metadata(folder)
    classifier, upsampler = has_classifier(folder), upsampler_for(metadata) is not None
    return {
        "interval": gr.Row(visible=metadata.guidance or classifier),
        "classifier_scale": gr.update(visible=True) if classifier else gr.update(visible=False, value=0),
        "twice": gr.update(visible=True) if upsampler else gr.update(visible=False, value=False),
    }


@takes_details(ShownSettings)
def _use_settings(event: gr.EventData) -> dict[str, Any]:
    """Return the updates that open Make with the settings of the image in the viewer. Raises gr.Error.

    The settings come from the browser, so they are checked like those of a file.
    """
    image_settings = getattr(event, "settings", None)
    if not isinstance(image_settings, dict):
        raise gr.Error(restore.UNREADABLE_SETTINGS, print_exception=False)
    return restore.from_settings(image_settings) | {"modes": gr.Tabs(selected="make")}


def _switch_to_vary(mode: str) -> Callable:
    """Return the handler that opens Vary with the model and the class of the image, if they are available."""

    @takes_details(ShownImage)
    def switch(model: str, label: str, event: gr.EventData) -> list:
        checkpoint, listed = getattr(event, "checkpoint", None), model_folders()
        selected = checkpoint if isinstance(checkpoint, str) and checkpoint in listed else model
        with user_errors_as_toasts():
            metadata = load_metadata(folder_of(selected))
        class_name = MIXED
        if mode == vary_view.ONE:  # two images may have two classes
            candidates = (getattr(event, "class", None), label)
            class_name = next((name for name in candidates if name in metadata.class_names), MIXED)
        return [gr.Tabs(selected="vary"), mode, selected, gr.Dropdown(class_choices(metadata), value=class_name)]

    return switch
