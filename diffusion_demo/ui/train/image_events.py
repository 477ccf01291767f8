"""Event listeners of the Train tab that scan the images and show the report."""

import html
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from diffusion_demo.ui.event_options import INSTANT_EVENT, UNLIMITED_EVENT
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import dataset_preview, form, layout, run_list
from diffusion_demo.ui.train.upload_area import SENT_FILES

NOTHING_UPLOADED = "() => { document.querySelector('#train-files .status').textContent = ''; }"
READING = '<p class="reading">Reading the images...</p>'


def show_report(is_report: bool) -> tuple[gr.Column, gr.Column]:
    """Return updates of the two views of the stage."""
    return gr.Column(visible=is_report), gr.Column(visible=not is_report)


def connect(
    page: gr.Blocks, images: layout.ImageInputs, setup: layout.RunSettings, stage: layout.Stage, state: layout.TabState
) -> None:
    """Scan the images when they are selected and after a reload, and show the report on the stage."""
    outputs, views = [state.report, stage.report, setup.note], [stage.report_view, stage.training_view]
    class_from = setup.fields["class_from"]
    scan_settings = [class_from, *report_inputs(setup)]
    scanning: dict[str, Any] = {
        "api_visibility": "private",
        "concurrency_limit": 2,
        "concurrency_id": "images",
        "show_progress_on": [stage.report],
    }
    (on_class_input,) = input_events([class_from])
    scans = [
        (images.sent.click, dataset_preview.scan_files, images.uploaded, SENT_FILES),
        (images.synthetic.click, dataset_preview.scan_synthetic, None, None),
    ]
    if settings().anywhere:
        scans.append((images.path.submit, dataset_preview.scan_path, images.path, None))
    for trigger, *_ in scans[1:]:
        trigger(None, None, None, js=NOTHING_UPLOADED)
    for trigger, scan, source, js in scans:
        trigger(_while_reading, None, [*views, stage.report, images.problem], **INSTANT_EVENT)
        inputs = [*([source] if source else []), state.latest_scan, *scan_settings]
        scanned = trigger(scan, inputs, outputs, js=js, trigger_mode="always_last", **scanning)
        scanned.failure(_without_report, state.latest_scan, [*views, *outputs, images.problem], **INSTANT_EVENT)
    on_class_input(
        dataset_preview.rescan,
        [state.report, state.latest_scan, *scan_settings],
        outputs,
        trigger_mode="always_last",
        **scanning,
    )
    stage.to_training.click(lambda: show_report(False), None, views, **INSTANT_EVENT)
    stage.to_report.click(lambda: show_report(True), None, views, **INSTANT_EVENT)
    state.report.change(_label_images, state.report, stage.to_report, **INSTANT_EVENT)
    state.report.change(dataset_preview.remember, [state.report, state.owner], None, **UNLIMITED_EVENT)
    restored = page.load(dataset_preview.restore, [state.owner, state.latest_scan, *scan_settings], outputs, **scanning)
    restored.success(_restored_view, [state.report, state.owner], views, **INSTANT_EVENT)


def _while_reading() -> tuple:
    """Return the updates at the start of a scan: show the report with READING, and clear the problem."""
    return (*show_report(True), READING, "")


def _without_report(latest: dataset_preview.LatestScan) -> tuple:
    """Return the updates after a failed scan: the view of the run, no report, and what is wrong with the images."""
    problem = f'<p class="problem" role="alert">{html.escape(latest.problem)}</p>' if latest.problem else ""
    return (*show_report(False), None, "", form.NO_IMAGES_NOTE, problem)


def _label_images(report: Any) -> gr.Button:
    """Return the update of the button that shows the report, which says how many files could not be read."""
    if report is None:
        return gr.Button(visible=False)
    unreadable = f" ({len(report.rejected):,} unreadable)" if report.rejected else ""
    return gr.Button(layout.SHOW_IMAGES + unreadable, visible=True)


def _restored_view(report: Any, owner_token: object) -> Any:
    """Return updates of the two views of the stage after a reload: the report is shown if there is no run to show."""
    return gr.skip() if report is None or run_list.default_run(owner_token) else show_report(True)


def report_inputs(setup: layout.RunSettings) -> list[Component]:
    names = dataset_preview.SHOWN_FIELDS[1:]
    return [setup.start_from, *(setup.fields[name] for name in names)]


def input_events(form_fields: Sequence[Component]) -> list[Callable]:
    """Return the `input` event listeners of the fields, which Gradio adds to the component classes at run time."""
    return [field.input for field in form_fields]  # pyright: ignore[reportAttributeAccessIssue]
