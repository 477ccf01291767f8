"""The Train tab: its components connected to their handlers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component

from diffusion_demo.ui.sample.tab import show_classes
from diffusion_demo.ui.server import run_ownership
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import dataset_preview, form, layout, publish, run_actions, run_list, run_status

# Options of event listeners.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
IMMEDIATE: dict[str, Any] = QUIET | {"queue": False}
LATEST: dict[str, Any] = QUIET | {"trigger_mode": "always_last"}


@dataclass(frozen=True)
class TabState:
    """Values without a visible component.

    Attributes:
        report: Report on the scanned images.
        followed: The initial model that the form was last adapted to.
        invalid_field: Name of the form field that shows an error.
        shown: Snapshot of the run on display.
        owner: Secret token of the browser.
    """

    report: gr.State
    followed: gr.State
    invalid_field: gr.State
    shown: gr.State
    owner: gr.BrowserState


def build(page: gr.Blocks, tabs: gr.Tabs, sample_inputs: list[Component]) -> None:
    """Build the tab. `sample_inputs` are the Sample tab's model, class and guidance, which "Open in Sample" sets."""
    with gr.Row():
        if not settings().training:
            with gr.Column(scale=2, min_width=300):
                gr.Markdown(settings().why_no_training, elem_id="train-off")
        with gr.Column(scale=2, min_width=300, visible=settings().training):
            layout.lay_out_notices()
            images = layout.lay_out_images()
            setup = layout.lay_out_settings()
        with gr.Column(scale=5, min_width=320, elem_classes="results", elem_id="train-results"):
            progress = layout.lay_out_progress()
            manager = layout.lay_out_runs()
    report, followed, invalid_field, shown = gr.State(None), gr.State(None), gr.State(None), gr.State(None)
    timer = gr.Timer(1.0)
    state = TabState(report, followed, invalid_field, shown, run_ownership.browser_token_component())
    train_form = form.TrainForm(setup.start_from, setup.fields, settings().anywhere)

    _connect_images(images, setup, state)
    _connect_form(page, train_form, images, setup, state)
    poll = _Poll(setup, progress, manager, state)
    _connect_start(train_form, setup, progress, state, poll)
    _connect_run(tabs, sample_inputs, setup, progress, manager, state, poll)
    _connect_manager(progress, manager, state)
    _connect_refresh(page, timer, setup, progress, state, poll)
    publish.build(progress.run, state.owner)


class _Poll:
    """Inputs and outputs of `run_status.poll`."""

    def __init__(
        self, setup: layout.RunSettings, progress: layout.RunProgress, manager: layout.RunManager, state: TabState
    ):
        self.inputs: list[Component] = [progress.run, manager.others, state.owner, state.shown]
        self.outputs: list[Component] = [
            state.shown,
            progress.line,
            progress.timeline,
            progress.curves,
            setup.stop,
            progress.resume,
            progress.open_in_sample,
            progress.sample_now,
            progress.save_now,
            progress.command,
        ]


def _transform_fields(setup: layout.RunSettings) -> list[Component]:
    return [setup.fields[name] for name in dataset_preview.TRANSFORM_FIELDS]


def _input_events(form_fields: Sequence[Component]) -> list[Callable]:
    """Return the `input` event listeners of the fields, which Gradio adds to the component classes at run time."""
    return [field.input for field in form_fields]  # pyright: ignore[reportAttributeAccessIssue]


def _connect_images(images: layout.ImageInputs, setup: layout.RunSettings, state: TabState) -> None:
    """Scan the images when they are selected."""
    outputs = [state.report, images.report]
    class_from = setup.fields["class_from"]
    scan_settings = [class_from, *_transform_fields(setup)]
    scanning: dict[str, Any] = {
        "api_visibility": "private",
        "concurrency_limit": 2,
        "concurrency_id": "pictures",
        "show_progress_on": [images.report],
    }
    images.files.upload(dataset_preview.scan_files, [images.files, *scan_settings], outputs, **scanning)
    images.synthetic.click(dataset_preview.scan_synthetic, scan_settings, outputs, **scanning)
    (on_class_input,) = _input_events([class_from])
    on_class_input(dataset_preview.rescan, [state.report, *scan_settings], outputs, **scanning)
    if settings().anywhere:
        images.path.submit(dataset_preview.scan_path, [images.path, *scan_settings], outputs, **scanning)
    images.files.clear(lambda: (None, ""), None, outputs, **IMMEDIATE)


def _connect_form(
    page: gr.Blocks,
    train_form: form.TrainForm,
    images: layout.ImageInputs,
    setup: layout.RunSettings,
    state: TabState,
) -> None:
    """Adapt the form to the initial model, and validate it and update the preview on every change."""
    all_fields = list(setup.fields.values())
    for trigger in (setup.start_from.change, page.load):
        trigger(train_form.follow, setup.start_from, [state.followed, setup.noise, *all_fields], **QUIET)
    transform = _transform_fields(setup)
    gr.on(
        [state.followed.change, *_input_events(transform)],
        dataset_preview.show,
        [state.report, *transform],
        images.report,
        **LATEST,
    )
    validating: dict[str, Any] = LATEST | {"concurrency_limit": 4}
    # One listener for all fields, so that no older result overwrites a newer one.
    gr.on(
        [state.report.change, state.followed.change, *_input_events([setup.duration, *all_fields])],
        train_form.check,
        [state.invalid_field, state.report, setup.start_from, setup.duration, *all_fields],
        [setup.note, setup.start, setup.duration, state.invalid_field, setup.start_from, *all_fields],
        **validating,
    )


def _connect_start(
    train_form: form.TrainForm,
    setup: layout.RunSettings,
    progress: layout.RunProgress,
    state: TabState,
    poll: _Poll,
) -> None:
    """Start a run with the settings of the form."""
    inputs = [state.owner, state.report, setup.start_from, setup.duration, *setup.fields.values()]
    started = setup.start.click(train_form.start, inputs, [progress.run, setup.start], **QUIET)
    started.then(run_status.poll, poll.inputs, poll.outputs, **IMMEDIATE)


def _connect_run(
    tabs: gr.Tabs,
    sample_inputs: list[Component],
    setup: layout.RunSettings,
    progress: layout.RunProgress,
    manager: layout.RunManager,
    state: TabState,
    poll: _Poll,
) -> None:
    """Show the selected run, and connect the buttons that act on it."""
    owned = [progress.run, state.owner]
    for selection in (progress.run, manager.others):
        selection.change(
            lambda name, others, owner_token: run_status.poll(name, others, owner_token, None),
            [progress.run, manager.others, state.owner],
            poll.outputs,
            **IMMEDIATE,
        )
    commands = ((setup.stop, "stop"), (progress.sample_now, "sample_now"), (progress.save_now, "save_now"))
    for button, command in commands:
        send = partial(run_status.send, command=command)
        button.click(send, owned, button, api_name=f"{command}_run", **IMMEDIATE)
    progress.resume.click(run_status.resume, [*owned, setup.duration], progress.resume, **QUIET)
    opened = progress.open_in_sample.click(run_status.open_latest, owned, [tabs, sample_inputs[0]], **QUIET)
    opened.then(show_classes, sample_inputs[:2], sample_inputs[1:], **QUIET)


def _connect_manager(progress: layout.RunProgress, manager: layout.RunManager, state: TabState) -> None:
    """List all runs, and download or delete the selected one."""
    owned = [progress.run, state.owner]
    manager.accordion.expand(
        lambda owner_token: (run_list.runs_table(owner_token), gr.Dropdown(run_list.visible_names(owner_token))),
        state.owner,
        [manager.table, manager.others],
        api_name="list_runs",
        **QUIET,
    )
    manager.pack.click(
        run_actions.pack, owned, manager.download, api_visibility="private", show_progress_on=[manager.pack]
    )
    manager.delete.click(lambda: gr.Row(visible=True), None, manager.confirmation, **IMMEDIATE)
    manager.cancel.click(lambda: gr.Row(visible=False), None, manager.confirmation, **IMMEDIATE)
    deleted = manager.confirm.click(run_actions.delete, owned, [progress.run, manager.table], **QUIET)
    deleted.then(lambda: gr.Row(visible=False), None, manager.confirmation, **IMMEDIATE)


def _connect_refresh(
    page: gr.Blocks,
    timer: gr.Timer,
    setup: layout.RunSettings,
    progress: layout.RunProgress,
    state: TabState,
    poll: _Poll,
) -> None:
    """Update the lists when the page loads, and the selected run every second."""
    refreshed = page.load(
        _refresh, [setup.start_from, state.owner], [progress.run, setup.start_from, state.owner], **QUIET
    )
    refreshed.then(
        lambda name, owner_token: run_status.poll(name, None, owner_token, None),
        [progress.run, state.owner],
        poll.outputs,
        **IMMEDIATE,
    )
    timer.tick(run_status.poll, poll.inputs, poll.outputs, trigger_mode="once", **IMMEDIATE)


def _refresh(start_from: str | None, owner_token: object) -> tuple[gr.Dropdown, gr.Dropdown, str]:
    """Return the list of runs, the list of initial models and the browser's token, which is created if it has none."""
    initial_models, token = form.initial_models(), run_ownership.valid_or_new_token(owner_token)
    runs = gr.Dropdown(run_list.visible_names(token), value=run_list.default_run(token))
    selected = start_from if start_from in initial_models else initial_models[0]
    return runs, gr.Dropdown(initial_models, value=selected), token
