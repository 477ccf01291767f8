"""Sample tab: generate images, make variations, compare settings, and keep a history."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import CheckpointMetadata, has_classifier
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.event_options import INSTANT_EVENT, INSTANT_LATEST_EVENT, UNLIMITED_EVENT
from diffusion_demo.ui.named_outputs import with_named_outputs
from diffusion_demo.ui.preview import showcase
from diffusion_demo.ui.sample import (
    browser_history,
    compare_view,
    generate_view,
    import_model,
    restore,
    vary_view,
    words,
)
from diffusion_demo.ui.sample.live_sampling import clear_results
from diffusion_demo.ui.sample.request_form import MIXED, class_choices, class_update, class_values, upsampler_for
from diffusion_demo.ui.server import warmup
from diffusion_demo.ui.server.event_details import InterruptedSampling, ShownImage, ShownSettings, with_details
from diffusion_demo.ui.server.model_list import (
    DEFAULT_MODEL,
    folder_of,
    model_choices,
    model_folders,
    model_title,
    refreshed,
    title_of,
)
from diffusion_demo.ui.settings import settings

SHOWS = {
    "ddpm": "sampler",
    "ddim": "sampler",
    "dpm_solver": "sampler",
    "p": "predicted image",
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
CARDS = "#class-cards"
# JavaScript of event listeners: read the model and the class, which a model without classes leaves as it was; name the
# model in the address, so that a reload keeps it.
_CHOSEN_CLASS = (
    f"(model) => [model, window.chosenClass = document.querySelector('{CARDS} input:checked')?.value"
    f" ?? window.chosenClass ?? {MIXED!r}]"
)
_MODEL_TO_ADDRESS = (
    "(model) => { const url = new URL(location.href); "
    f"if (model === {DEFAULT_MODEL!r}) url.searchParams.delete('model'); else url.searchParams.set('model', model); "
    "history.replaceState(history.state, '', url); }"
)


def build(page: gr.Blocks) -> list[gr.components.Component]:
    """Lay out the tab and connect its events.

    Return the components that change when another tab opens a model: model, class and guidance scale.
    """
    listed = model_folders()
    first = next(iter(listed))
    metadata = load_metadata(listed[first])
    with gr.Row(elem_id="sample"):
        with gr.Column(elem_id="sample-form", min_width=300):
            model = gr.Dropdown(model_choices(), value=first, label=words.MODEL, interactive=True, elem_id="model")
            label = _class_cards(metadata)
            card_style = gr.HTML(_card_style(first), elem_id="card-style", apply_default_css=False)
            with gr.Tabs(elem_id="sample-ways") as modes:
                with gr.Tab(words.WAYS["make"], id="make", elem_id="make-way"):
                    form = generate_view.form(model, label)
                with gr.Tab(words.WAYS["vary"], id="vary", elem_id="vary-way-tab"):
                    vary_form = vary_view.form()
                with gr.Tab(words.WAYS["compare"], id="compare", elem_id="compare-way"):
                    compare_form = compare_view.form()
            imported = import_model.build(model) if settings().anywhere else None
        with gr.Column(elem_id="sample-results", min_width=320):
            made, varied, compared = generate_view.results(), vary_view.results(), compare_view.results()
            gallery = browser_history.history_strip()
    generate_view.connect(form, made)
    vary_view.connect(model, label, form, vary_form, varied)
    compare_view.connect(model, label, form, compare_form, compared)
    if imported:
        imported.success(show_classes, [model, label], [label, form.fields["guidance_scale"]], **INSTANT_EVENT)
    _connect_history(gallery, modes, model, label, form, vary_form)
    starts = [form.start, *vary_form.starts, compare_form.start]
    page.load(_enable_start_buttons, None, starts, **UNLIMITED_EVENT)
    _connect_model(page, model, label, form, made, varied, card_style)
    vary_view.connect_examples(model, vary_form)
    return [model, label, form.fields["guidance_scale"]]


def _class_cards(metadata: CheckpointMetadata) -> gr.Radio:
    return gr.Radio(
        class_choices(metadata), value=MIXED, label=words.CLASS, interactive=True, elem_id=CARDS.removeprefix("#")
    )


def _card_style(model: str) -> str:
    """Return the HTML that gives the class cards the thumbnails of the model, if it has any."""
    folder = folder_of(model)
    return f"<style>{showcase.thumbnail_css(folder, load_metadata(folder), CARDS, MIXED)}</style>"


def _connect_model(
    page: gr.Blocks,
    model: gr.Dropdown,
    label: gr.Radio,
    form: generate_view.SampleForm,
    made: generate_view.Results,
    varied: generate_view.Results,
    card_style: gr.HTML,
) -> None:
    """Connect what a choice of the model changes: classes, optional fields, and both stages."""
    classes = [label, form.fields["guidance_scale"]]
    page.load(_open_models, label, [model, *classes], **UNLIMITED_EVENT)
    # Gradio 6.31 triggers `input` twice. The second call may name a class of the model before, which is no choice any
    # more, so the class is sent as text.
    chosen_class = gr.Textbox(visible=False)
    model.input(show_classes, [model, chosen_class], classes, js=_CHOSEN_CLASS, **INSTANT_LATEST_EVENT)
    model.change(None, model, None, js=_MODEL_TO_ADDRESS)
    show_optional_fields = with_named_outputs(_show_optional_fields, form.optional)
    gr.on([page.load, model.change], show_optional_fields, model, [*form.optional.values()], **INSTANT_LATEST_EVENT)
    stages = made.outputs() | made.later_outputs() | {"card_style": card_style, "vary_preview": varied.preview}
    model.change(with_named_outputs(_clear_stages, stages), model, [*stages.values()], **INSTANT_EVENT)


def _connect_history(
    gallery: gr.HTML,
    modes: gr.Tabs,
    model: gr.Dropdown,
    label: gr.Radio,
    form: generate_view.SampleForm,
    vary: vary_view.VaryForm,
) -> None:
    """Connect the events of the image viewer and of a reload, which history.js triggers on the history component."""
    events: Any = gallery  # gr.HTML creates custom events on attribute access
    used = form.restored | {"modes": modes}
    events.use_this(with_named_outputs(_use_settings, used), None, [*used.values()], **UNLIMITED_EVENT)
    events.resume_this(None, None, None, js=browser_history.TAKE_NOTE)
    resume = with_named_outputs(_resume, used)
    # "multiple": Gradio would drop a repeated event while it waits for an answer that was lost.
    resumed = events.resume_this(resume, None, [*used.values()], trigger_mode="multiple", **UNLIMITED_EVENT)
    resumed.success(None, None, None, js=browser_history.PRESS_GENERATE)
    resumed.failure(None, None, None, js=browser_history.FORGET_RUN)
    opened = [modes, vary.mode, model, label]
    for event, mode, image in (
        (events.vary_this, words.ONE, vary.one),
        (events.blend_this, words.TWO, vary.one),
        (events.blend_with_this, words.TWO, vary.two),
    ):
        event(None, None, image, js=browser_history.SENT_IMAGE)
        event(_switch_to_vary(mode), [model, label], opened, **UNLIMITED_EVENT)
    events.blend_this(_ask_for_second, None, vary.two, **UNLIMITED_EVENT)


def _enable_start_buttons() -> list[gr.Button]:
    """Return the updates of the start buttons once warm-up is complete."""
    warmup.wait()
    return [gr.Button(label, interactive=True) for label in (words.GENERATE, words.VARY, words.BLEND, words.COMPARE)]


def _open_models(label: str, request: gr.Request) -> list:
    """Return the updates of the model, the class and the guidance scale. The address may name the model."""
    model = request.query_params.get("model")
    if model is None or model not in model_folders():
        return [gr.Dropdown(model_choices()), gr.skip(), gr.skip()]
    return [gr.Dropdown(model_choices(), value=model), *show_classes(model, label)]


def refresh_models(model: str | None, label: str) -> list:
    """Return the updates of the model, the class and the guidance scale when the tab opens.

    A model that is no longer listed is replaced, with a toast.
    """
    update, other = refreshed(model)
    if model is None or other is None:
        return [update, gr.skip(), gr.skip()]
    gr.Info(words.MODEL_GONE.format(old=title_of(model), new=title_of(other)))
    return [update, *show_classes(other, label)]


def show_classes(model: str, label: str) -> tuple[gr.Radio, gr.Slider]:
    """Return the updates of the class and of the guidance scale for a model. Raises gr.Error."""
    with user_errors_as_toasts():
        metadata = load_metadata(folder_of(model))
    selected = label if label in class_values(metadata) else MIXED
    guidance = gr.Slider(interactive=True) if metadata.guidance else gr.Slider(value=1.0, interactive=False)
    return class_update(metadata, selected), guidance


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


def _clear_stages(model: str) -> dict[str, Any]:
    """Return the updates after another model was chosen: its own example or an invitation, never another's images."""
    with user_errors_as_toasts():
        folder = folder_of(model)
        example, style = showcase.read(folder), _card_style(model)
    shown = {"preview": example.animation, "vary_preview": vary_view.EMPTY | {"idle": True}, "card_style": style}
    return clear_results() | {"gallery": example.files} | shown


@with_details(ShownSettings)
def _use_settings(event: gr.EventData) -> dict[str, Any]:
    """Return the updates that open Generate with the settings of the image in the viewer. Raises gr.Error."""
    updates = _updates_from(event)
    gr.Info(words.SETTINGS_USED)
    return updates


def _updates_from(event: gr.EventData) -> dict[str, Any]:
    """Return the updates for the settings of an event, which are checked: the browser sends them. Raises gr.Error."""
    image_settings = getattr(event, "settings", None)
    if not isinstance(image_settings, dict):
        raise gr.Error(restore.UNREADABLE_SETTINGS, print_exception=False)
    return restore.from_settings(image_settings) | {"modes": gr.Tabs(selected="make")}


@with_details(InterruptedSampling)
def _resume(event: gr.EventData) -> dict[str, Any]:
    """Return the updates that open Generate with the settings of the run that a reload has cut short. Raises gr.Error.

    They come from the browser, so they are checked like those of a file.
    """
    updates, count, label = _updates_from(event), getattr(event, "num_images", None), getattr(event, "label", None)
    with user_errors_as_toasts():
        metadata = load_metadata(folder_of(updates["model"]))
        if type(count) is not int or not 1 <= count <= settings().images or label not in class_values(metadata):
            raise BadInput(restore.UNREADABLE_SETTINGS)
    return updates | {"num_images": count, "label": class_update(metadata, label)}


def _ask_for_second() -> None:
    """Empty the second image of a blend, and say that it is the next to choose."""
    gr.Info(words.SECOND_MISSING)


def _switch_to_vary(mode: str) -> Callable:
    """Return the handler that opens Variations with the model and the class of the image, if they are available."""

    @with_details(ShownImage)
    def switch(model: str, label: str, event: gr.EventData) -> list:
        checkpoint, listed = getattr(event, "checkpoint", None), model_folders()
        selected = checkpoint if isinstance(checkpoint, str) and checkpoint in listed else model
        with user_errors_as_toasts():
            metadata = load_metadata(folder_of(selected))
        if selected != model:
            gr.Info(words.MODEL_CHANGED.format(model=model_title(selected, listed[selected])))
        class_name = MIXED
        if mode == words.ONE:  # two images may have two classes
            candidates = (getattr(event, "class", None), label)
            class_name = next((name for name in candidates if name in class_values(metadata)), MIXED)
        return [gr.Tabs(selected="vary"), mode, selected, class_update(metadata, class_name)]

    return switch
