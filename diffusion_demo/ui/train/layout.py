"""Layout of the Train tab. The functions return the components that `tab` connects to their handlers."""

from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from diffusion_demo.paths import read_asset
from diffusion_demo.ui.server.hf_space import NOTHING_LASTS
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import budget, fields, form, run_status

EVERYBODY_SEES = (
    "Everybody who comes here sees your run and can make images with its model; "
    "only this browser can stop, delete or download it."
)


@dataclass(frozen=True)
class ImageInputs:
    """Components that select the training images, and the report on them."""

    files: gr.File
    synthetic: gr.Button
    path: gr.Textbox
    report: gr.HTML


@dataclass(frozen=True)
class RunSettings:
    """Components that configure, start and stop a run. `noise` is the column of the noise schedule's fields."""

    start_from: gr.Dropdown
    duration: gr.Radio
    fields: dict[str, Component]
    noise: gr.Column
    note: gr.HTML
    start: gr.Button
    stop: gr.Button


@dataclass(frozen=True)
class RunProgress:
    """Components that show the selected run, and the buttons that act on it."""

    run: gr.Dropdown
    line: gr.HTML
    timeline: gr.HTML
    curves: gr.HTML
    open_in_sample: gr.Button
    resume: gr.Button
    sample_now: gr.Button
    save_now: gr.Button
    command: gr.Code


@dataclass(frozen=True)
class RunManager:
    """The table of all runs, the comparison of losses, and the buttons to download and delete a run."""

    accordion: gr.Accordion
    table: gr.HTML
    others: gr.Dropdown
    pack: gr.Button
    download: gr.DownloadButton
    delete: gr.Button
    confirmation: gr.Row
    confirm: gr.Button
    cancel: gr.Button


def lay_out_notices() -> None:
    """Add the notices for Spaces without storage and for public pages where visitors see each other's runs."""
    if not settings().lasts:
        gr.Markdown(NOTHING_LASTS, elem_classes="warning", elem_id="nothing-lasts")
    if settings().public and settings().watch:
        gr.Markdown(EVERYBODY_SEES, elem_classes="hint")


def lay_out_images() -> ImageInputs:
    """Add the components that select the training images."""
    files = gr.File(
        label="Your images (files or one ZIP)",
        file_count="multiple",
        file_types=["image", ".zip"],
        height=150,
        elem_id="train-files",
    )
    gr.Markdown("To keep folder names as classes, upload a ZIP.", elem_classes="hint")
    synthetic = gr.Button("No images? Use sample images", size="sm", elem_id="train-drawn")
    path = gr.Textbox(
        label="Or folders or ZIPs on this computer, one on each line",
        placeholder="/home/me/images",
        max_lines=5,
        submit_btn="Load",
        visible=settings().anywhere,
    )
    return ImageInputs(files, synthetic, path, gr.HTML(elem_id="train-report"))


def lay_out_settings() -> RunSettings:
    """Add the components that configure, start and stop a run."""
    anywhere = settings().anywhere
    start_from = gr.Dropdown(
        form.initial_models(),
        label="Start from",
        info="Fine-tuning an existing model is faster."
        + (" You can also enter a folder or a Hub name." if anywhere else ""),
        allow_custom_value=anywhere,
        interactive=True,
    )
    durations = list(budget.available_durations())
    duration = gr.Radio(durations, value=durations[0], label="Training time", interactive=True)
    with gr.Accordion("All settings", open=False, elem_id="train-settings"):
        settings_fields, noise = fields.build()
    note = gr.HTML(elem_id="train-note")
    with gr.Row():
        start = gr.Button("Start", variant="primary", interactive=False, scale=3, min_width=120, elem_id="train-start")
        stop = gr.Button("Stop", variant="stop", interactive=False, scale=1, min_width=80, elem_id="train-stop")
    return RunSettings(start_from, duration, settings_fields, noise, note, start, stop)


def lay_out_progress() -> RunProgress:
    """Add the components that show the selected run."""
    run = gr.Dropdown([], label="Run", interactive=True, elem_id="train-run")
    line = gr.HTML(elem_id="train-line")
    timeline = gr.HTML(
        {"frames": [], "empty": run_status.NO_RUN},
        html_template=read_asset("train/timeline.html"),
        js_on_load=read_asset("train/timeline.js"),
        elem_id="timeline",
    )
    curves = gr.HTML(
        {"views": []},
        html_template=read_asset("train/curves.html"),
        js_on_load=read_asset("train/curves.js"),
        elem_id="curves",
    )
    with gr.Row():
        open_in_sample = gr.Button("Open in Sample", interactive=False, min_width=110, elem_id="train-open")
        resume = gr.Button("Continue training", interactive=False, min_width=80, elem_id="train-resume")
        sample_now = gr.Button("Preview now", interactive=False, min_width=100)
        save_now = gr.Button("Save now", interactive=False, min_width=80)
    with gr.Accordion("Command line", open=False):
        command = gr.Code(interactive=False, show_label=False, wrap_lines=True, elem_id="train-command")
    return RunProgress(run, line, timeline, curves, open_in_sample, resume, sample_now, save_now, command)


def lay_out_runs() -> RunManager:
    """Add the table of all runs and the components that compare, download and delete runs."""
    with gr.Accordion("All runs", open=False, elem_id="train-runs") as accordion:
        table = gr.HTML(elem_id="train-table")
        others = gr.Dropdown(
            [],
            label="Compare loss with",
            multiselect=True,
            max_choices=3,
            interactive=True,
            elem_id="train-compare",
        )
        with gr.Row():
            pack = gr.Button("Export this run (ZIP)", min_width=110)
            download = gr.DownloadButton("Download (ZIP)", visible=False, min_width=110, elem_id="train-zip")
            delete = gr.Button("Delete this run", min_width=110)
        with gr.Row(visible=False) as confirmation:
            confirm = gr.Button("Delete permanently", variant="stop", min_width=110, elem_id="train-delete")
            cancel = gr.Button("Cancel", min_width=110)
    return RunManager(accordion, table, others, pack, download, delete, confirmation, confirm, cancel)
