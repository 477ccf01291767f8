"""Layout of the Train tab. The functions return the components that `tab` connects to their handlers."""

from dataclasses import dataclass
from functools import partial

import gradio as gr
from gradio.components import Component

from diffusion_demo.paths import read_asset
from diffusion_demo.ui.server.hf_space import NOTHING_LASTS
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import budget, fields, form, run_status
from diffusion_demo.ui.train.upload_area import hidden_files, upload_area

SHOW_IMAGES = "Show my images"
EVERYBODY_SEES = (
    "Anyone visiting this page can see your run and use its model. Only this browser can stop, delete or download it."
)


@dataclass(frozen=True)
class ImageInputs:
    """Components that select the training images, and the sentence that says why the last ones cannot be used.

    The upload area fills `uploaded` and clicks `sent`, both hidden.
    """

    problem: gr.HTML
    uploaded: gr.File
    sent: gr.Button
    synthetic: gr.Button
    path: gr.Textbox


@dataclass(frozen=True)
class RunSettings:
    """Components that configure and start a run. `noise` is the column of the noise schedule's fields."""

    start_from: gr.Dropdown
    duration: gr.Radio
    fields: dict[str, Component]
    noise: gr.Column
    note: gr.HTML
    start: gr.Button


@dataclass(frozen=True)
class Stage:
    """The two views of the third step: the report on the images, and the selected run."""

    report_view: gr.Column
    report: gr.HTML
    to_training: gr.Button
    training_view: gr.Column
    to_report: gr.Button


@dataclass(frozen=True)
class RunProgress:
    """Components that show the selected run, and the buttons that act on it."""

    run: gr.Dropdown
    line: gr.HTML
    timeline: gr.HTML
    curves: gr.HTML
    stop: gr.Button
    open_in_sample: gr.Button
    resume: gr.Button
    sample_now: gr.Button
    save_now: gr.Button
    more: gr.Accordion
    others: gr.Dropdown
    command: gr.Code


@dataclass(frozen=True)
class RunManager:
    """The list of all runs. Its rows click the hidden buttons, which act on the run named in `row`."""

    table: gr.HTML
    row: gr.Textbox
    new_name: gr.Textbox
    actions: dict[str, gr.Button]
    download: gr.DownloadButton


@dataclass(frozen=True)
class TabState:
    """Values without a visible component.

    Attributes:
        report: Report on the scanned images.
        latest_scan: Which scan of images was started last.
        followed: The initial model that the form was last adapted to.
        invalid_field: Name of the form field that shows an error.
        shown: Snapshot of the run on display.
        owner: Secret token of the browser.
    """

    report: gr.State
    latest_scan: gr.State
    followed: gr.State
    invalid_field: gr.State
    shown: gr.State
    owner: gr.BrowserState


ROW_ACTIONS = ("open", "resume", "export", "rename", "delete", "move_up", "remove", "pause")


def lay_out_notices() -> None:
    """Add the notices for Spaces without storage and for public pages where visitors see each other's runs."""
    if not settings().lasts:
        gr.Markdown(NOTHING_LASTS, elem_classes="warning", elem_id="nothing-lasts")
    if settings().public and settings().watch:
        gr.Markdown(EVERYBODY_SEES, elem_classes="hint")


def lay_out_images() -> ImageInputs:
    """Add the first step: the components that select the training images."""
    gr.Markdown("## 1 Images", elem_classes="step")
    upload_area()
    problem = gr.HTML(elem_id="train-problem")
    uploaded = hidden_files()
    sent = gr.Button("Uploaded", visible="hidden", elem_id="train-uploaded")
    synthetic = gr.Button("No images? Use sample images", size="sm", elem_id="train-drawn")
    path = gr.Textbox(
        label="Or enter folder or ZIP paths, one per line",
        placeholder="/home/me/images",
        max_lines=5,
        submit_btn="Load",
        visible=settings().anywhere,
        elem_id="train-path",
    )
    return ImageInputs(problem, uploaded, sent, synthetic, path)


def lay_out_settings() -> RunSettings:
    """Add the second step: the components that configure and start a run."""
    anywhere = settings().anywhere
    gr.Markdown("## 2 Settings", elem_classes="step")
    start_from = gr.Dropdown(
        form.initial_choices(),
        label="Start from",
        info="Fine-tuning an existing model is faster."
        + (" You can also enter a folder or a Hugging Face model name." if anywhere else ""),
        allow_custom_value=anywhere,
        interactive=True,
    )
    durations = list(budget.available_durations())
    duration = gr.Radio(
        durations, value=durations[0], label="Training time", interactive=True, elem_id="train-duration"
    )
    with gr.Accordion("All settings", open=False, elem_id="train-settings"):
        settings_fields, noise = fields.build()
    with gr.Column(elem_id="train-go"):
        note = gr.HTML(form.NO_IMAGES_NOTE, elem_id="train-note")
        start = gr.Button("Start", variant="primary", interactive=False, min_width=120, elem_id="train-start")
    return RunSettings(start_from, duration, settings_fields, noise, note, start)


def lay_out_stage() -> tuple[Stage, RunProgress]:
    """Add the third step: the report on the images until training starts, then the selected run."""
    with gr.Column(visible=False) as report_view:
        gr.Markdown("## Your images", elem_classes="step")
        to_training = gr.Button("Show training", size="sm", elem_id="train-to-training")
        report = gr.HTML(elem_id="train-report", js_on_load=read_asset("train/report.js"))
    with gr.Column() as training_view:
        gr.Markdown("## 3 Training" if settings().training else "## Training", elem_classes="step")
        to_report = gr.Button(SHOW_IMAGES, size="sm", visible=False, elem_id="train-to-report")
        progress = _lay_out_progress()
    return Stage(report_view, report, to_training, training_view, to_report), progress


def _lay_out_progress() -> RunProgress:
    # Names of runs are looked up by the handlers. With the list of choices alone, a run that has just been renamed or
    # started would be refused until the session has the new list.
    run = gr.Dropdown([], label="Run", allow_custom_value=True, interactive=True, elem_id="train-run")
    line = gr.HTML(elem_id="train-line")
    timeline = gr.HTML(
        {"frames": [], "empty": run_status.LOADING, "none": True},
        html_template=read_asset("train/timeline.html"),
        js_on_load=read_asset("train/timeline.js"),
        elem_id="timeline",
    )
    with gr.Row(elem_id="train-actions"):
        button = partial(gr.Button, interactive=False, min_width=100, size="sm")
        stop = button(run_status.STOP, variant="stop", elem_id="train-stop")
        sample_now = button(run_status.SAMPLE_NOW, elem_id="train-sample-now")
        save_now = button(run_status.SAVE_NOW, elem_id="train-save-now")
        resume = button(run_status.CONTINUE, elem_id="train-resume")
        open_in_sample = button("Open in Sample", elem_id="train-open")
    curves = gr.HTML(
        {"views": []},
        html_template=read_asset("train/curves.html"),
        js_on_load=read_asset("train/curves.js"),
        elem_id="curves",
    )
    more, others, command = _lay_out_comparison()
    return RunProgress(
        run, line, timeline, curves, stop, open_in_sample, resume, sample_now, save_now, more, others, command
    )


def _lay_out_comparison() -> tuple[gr.Accordion, gr.Dropdown, gr.Code]:
    with gr.Accordion("Compare and repeat", open=False, elem_id="train-more") as more:
        others = gr.Dropdown(
            [],
            label="Compare loss with",
            multiselect=True,
            max_choices=3,
            allow_custom_value=True,
            interactive=True,
            elem_id="train-compare",
        )
        command = gr.Code(
            interactive=False,
            label="Command line",
            visible=not settings().public,
            lines=1,
            max_lines=8,
            wrap_lines=True,
            elem_id="train-command",
        )
    return more, others, command


def lay_out_runs() -> RunManager:
    """Add the list of all runs."""
    gr.Markdown("## Runs", elem_classes="step")
    table = gr.HTML(
        {},
        html_template=read_asset("train/run_list.html"),
        js_on_load=read_asset("train/run_list.js"),
        apply_default_css=False,
        elem_id="train-table",
    )
    download = gr.DownloadButton("Download", visible=False, size="sm", elem_id="train-zip")
    row = gr.Textbox(label="Run", max_length=200, visible="hidden")
    new_name = gr.Textbox(label="New name", max_length=200, visible="hidden")
    actions = {name: gr.Button(name, visible="hidden", elem_id=f"train-row-{name}") for name in ROW_ACTIONS}
    return RunManager(table, row, new_name, actions, download)
