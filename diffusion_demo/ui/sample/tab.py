"""The Sample tab: choose, generate, watch, scrub, keep; compare settings; vary what was made."""

import gradio as gr

from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import has_classifier
from diffusion_demo.ui.sample import compare_view, generate_view, history, import_model, restore, vary_view
from diffusion_demo.ui.sample.request_form import MIXED, as_toasts, class_choices, upsampler_for
from diffusion_demo.ui.server import warmup
from diffusion_demo.ui.server.model_list import folder_of, models, titles
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


def build(page: gr.Blocks) -> list[gr.components.Component]:
    """Lay out the tab and wire it. Returns the model's dropdown, the class's, and the guidance: what changes when another tab opens a model."""
    listed = models()
    first = next(iter(listed))
    about = load_metadata(listed[first])
    with gr.Row(elem_id="sample-what"):
        model = gr.Dropdown(titles(), value=first, label="Model", min_width=140, interactive=True)
        label = gr.Dropdown(class_choices(about), value=MIXED, label="Class", min_width=140, interactive=True)
    with gr.Tabs(elem_id="sample-ways") as ways:
        with gr.Tab("Make", id="make"):
            form = generate_view.build(model, label)
        with gr.Tab("Compare", id="compare"):
            compare = compare_view.build(model, label, form)
        with gr.Tab("Vary", id="vary"):
            vary = vary_view.build(model, label, form)
    kept = history.history()
    if settings().anywhere:
        brought = import_model.build(model)
        brought.success(
            show_classes,
            [model, label],
            [label, form.guidance],
            api_visibility="private",
            show_progress="hidden",
            queue=False,
        )

    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    beside_others = quiet | {"concurrency_limit": None}
    kept.use_this(_use, None, [ways, *form.restored], **beside_others)
    for event, way, image in ((kept.vary_this, vary_view.ONE, vary.one), (kept.mix_this, vary_view.TWO, vary.two)):
        event(None, None, image, js=history.HANDED_OVER)
        event(_turned_to(way), [model, label], [ways, vary.way, model, label], **beside_others)
    page.load(_ready, None, [form.start, compare, *vary.starts], **beside_others)
    page.load(_refresh_models, model, model, **beside_others)
    model.input(show_classes, [model, label], [label, form.guidance], **quiet, queue=False)
    gr.on([page.load, model.change], _rare, model, form.rare, **quiet, queue=False)
    return [model, label, form.guidance]


def _ready() -> list[gr.Button]:
    warmup.wait()
    return [
        gr.Button(words, interactive=True)
        for words in (generate_view.GENERATE, compare_view.COMPARE, vary_view.VARY, vary_view.MIX)
    ]


def _refresh_models(model):
    names = list(models())
    return gr.Dropdown(titles(), value=model if model in names else names[0])


def show_classes(model, label):
    """The classes and the guidance that go with a model."""
    with as_toasts():
        description = load_metadata(folder_of(model))
    kept = label if label in description.class_names else MIXED
    guidance = 2.0 if description.guidance else 1.0
    return gr.Dropdown(class_choices(description), value=kept), gr.Slider(
        value=guidance, interactive=description.guidance
    )


def _rare(model: str) -> list:
    """What only some models can: guidance within an interval, a classifier's guidance, twice the size; hidden where they cannot."""
    with as_toasts():
        folder = folder_of(model)
        about = load_metadata(folder)
    classifier, twice = has_classifier(folder), upsampler_for(about) is not None
    return [
        gr.Row(visible=about.guidance or classifier),
        gr.update(visible=True) if classifier else gr.update(visible=False, value=0),
        gr.update(visible=True) if twice else gr.update(visible=False, value=False),
    ]


def _use(event: gr.EventData) -> list:
    """Back to Make, with the settings of the image that is shown. They come from the browser, so they are checked like a file's."""
    found = getattr(event, "settings", None)
    if not isinstance(found, dict):
        raise gr.Error(restore.UNREADABLE, print_exception=False)
    return [gr.Tabs(selected="make"), *restore.from_settings(found)]


def _turned_to(way: str):
    """To Vary, with the model and the class that the image was made with, where they are still here."""

    def turn(model: str, label: str, event: gr.EventData) -> list:
        named, listed = getattr(event, "checkpoint", None), models()
        used = named if isinstance(named, str) and named in listed else model
        with as_toasts():
            about = load_metadata(folder_of(used))
        wanted = getattr(event, "class", None)
        known = [
            name for name in (wanted, label) if name in about.class_names and way == vary_view.ONE
        ]  # two images may be of two classes
        return [gr.Tabs(selected="vary"), way, used, gr.Dropdown(class_choices(about), value=(known or [MIXED])[0])]

    return turn
