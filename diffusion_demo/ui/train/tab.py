"""The Train tab: its components connected to their handlers."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from diffusion_demo.ui.event_options import INSTANT_EVENT, LATEST_EVENT, UNLIMITED_EVENT
from diffusion_demo.ui.sample.tab import show_classes
from diffusion_demo.ui.server import model_list, run_ownership
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import (
    dataset_preview,
    form,
    image_events,
    layout,
    publish,
    run_actions,
    run_list,
    run_queue,
    run_rows,
    run_status,
)
from diffusion_demo.ui.train.image_events import input_events, report_inputs, show_report
from diffusion_demo.ui.train.layout import TabState

# The inputs of the hidden buttons that the rows of the list of runs click (run_list.js).
ROW = "(run, ...rest) => [window.trainRow.run, ...rest]"
ANSWERED_ROW = "(run, owner, answer) => [window.trainRow.run, owner, window.trainRow.answer]"
# Gradio shows the column of the progress first.
SCROLL_TO_PROGRESS = (
    "() => setTimeout(() => document.querySelector('#train-line').scrollIntoView({block: 'nearest'}), 100)"
)
# Gradio renders the link of the download first.
CLICK_DOWNLOAD = "() => setTimeout(() => document.querySelector('#train-zip').click(), 500)"


def build(
    page: gr.Blocks, tabs: gr.Tabs, owner: gr.BrowserState, sample_inputs: list[Component]
) -> tuple[gr.Timer, gr.Dropdown]:
    """Build the tab. `sample_inputs` are the Sample tab's model, class and guidance, which "Open in Sample" sets.

    `owner` keeps the browser's token (see `run_ownership`). Returns the timer that updates the tab while it is active,
    and the field of the model to start from.
    """
    with gr.Row(elem_id="train"):
        if not settings().training:
            with gr.Column(scale=2, min_width=372):
                gr.Markdown(settings().why_no_training, elem_id="train-off")
        with gr.Column(scale=2, min_width=372, visible=settings().training, elem_id="train-form"):
            layout.lay_out_notices()
            images = layout.lay_out_images()
            setup = layout.lay_out_settings()
        with gr.Column(scale=5, min_width=320, elem_id="train-results"):
            stage, progress = layout.lay_out_stage()
            manager = layout.lay_out_runs()
    report, followed, invalid_field, shown = gr.State(None), gr.State(None), gr.State(None), gr.State(None)
    latest_scan = gr.State(dataset_preview.LatestScan())
    timer = gr.Timer(1.0, active=False)
    state = TabState(report, latest_scan, followed, invalid_field, shown, owner)
    train_form = form.TrainForm(setup.start_from, setup.fields, settings().anywhere)

    image_events.connect(page, images, setup, stage, state)
    _connect_form(page, train_form, setup, stage, state)
    poll = _Poll(setup, progress, manager, state)
    _connect_start(train_form, setup, stage, progress, state, poll)
    _connect_run(tabs, sample_inputs, setup, progress, state, poll)
    _connect_rows(setup, stage, progress, manager, state, poll, sample_inputs[0])
    _connect_refresh(page, timer, setup, progress, manager, state, poll)
    publish.build(progress.run, state.owner)
    return timer, setup.start_from


class _Poll:
    """Inputs and outputs of `run_status.poll`."""

    def __init__(
        self, setup: layout.RunSettings, progress: layout.RunProgress, manager: layout.RunManager, state: TabState
    ):
        self.inputs: list[Component] = [progress.run, progress.others, state.owner, state.shown]
        self.outputs: list[Component] = [
            state.shown,
            progress.line,
            progress.timeline,
            progress.curves,
            progress.stop,
            progress.resume,
            progress.open_in_sample,
            progress.sample_now,
            progress.save_now,
            progress.command,
            manager.table,
            setup.start,
        ]

    def after(self, event: Dependency) -> None:
        """Poll at once after an event, whether it succeeded or not."""
        event.then(run_status.poll, self.inputs, self.outputs, **INSTANT_EVENT)


def _connect_form(
    page: gr.Blocks, train_form: form.TrainForm, setup: layout.RunSettings, stage: layout.Stage, state: TabState
) -> None:
    """Adapt the form to the initial model, and validate it and update the report on every change."""
    all_fields = list(setup.fields.values())
    for trigger in (setup.start_from.change, page.load):
        trigger(train_form.follow, setup.start_from, [state.followed, setup.noise, *all_fields], **UNLIMITED_EVENT)
    shown_inputs = [state.report, *report_inputs(setup)]
    check_inputs = [state.invalid_field, state.report, setup.start_from, setup.duration, *all_fields]
    check_outputs = [setup.note, setup.start, setup.duration, state.invalid_field, setup.start_from, *all_fields]
    validating: dict[str, Any] = LATEST_EVENT | {"concurrency_limit": 4}
    gr.on(
        [state.followed.change, *input_events(shown_inputs[2:])],
        dataset_preview.show,
        shown_inputs,
        stage.report,
        **LATEST_EVENT,
    )
    # One listener for all fields, so that no older result overwrites a newer one.
    gr.on(
        [state.report.change, state.followed.change, *input_events([setup.duration, *all_fields])],
        train_form.check,
        check_inputs,
        check_outputs,
        **validating,
    )
    fixed = [setup.fields[name] for name in dataset_preview.FIXED_FIELDS]
    fix = stage.report.select(dataset_preview.apply_fix, shown_inputs, fixed, **UNLIMITED_EVENT)
    fix.success(dataset_preview.show, shown_inputs, stage.report, **UNLIMITED_EVENT)
    fix.success(train_form.check, check_inputs, check_outputs, **validating)
    setup.duration.input(form.patience_of, setup.duration, setup.fields["early_stopping_patience"], **LATEST_EVENT)


def _connect_start(
    train_form: form.TrainForm,
    setup: layout.RunSettings,
    stage: layout.Stage,
    progress: layout.RunProgress,
    state: TabState,
    poll: _Poll,
) -> None:
    """Queue a run with the settings of the form, and show it."""
    inputs = [state.owner, state.report, setup.start_from, setup.duration, *setup.fields.values()]
    setup.start.click(lambda: gr.Button(run_status.STARTING, interactive=False), None, setup.start, **INSTANT_EVENT)
    started = setup.start.click(train_form.start, inputs, [progress.run, setup.start], **UNLIMITED_EVENT)
    shown = started.success(lambda: show_report(False), None, [stage.report_view, stage.training_view], **INSTANT_EVENT)
    shown.then(None, None, None, js=SCROLL_TO_PROGRESS)
    started.failure(_restore_start, state.owner, setup.start, **INSTANT_EVENT)
    poll.after(started)


def _restore_start(owner_token: object) -> gr.Button:
    return gr.Button(run_status.start_label(run_rows.rows(owner_token)), interactive=True)


def _connect_run(
    tabs: gr.Tabs,
    sample_inputs: list[Component],
    setup: layout.RunSettings,
    progress: layout.RunProgress,
    state: TabState,
    poll: _Poll,
) -> None:
    """Show the selected run, and connect the buttons that act on it."""
    owned = [progress.run, state.owner]
    for selection in (progress.run, progress.others):
        selection.change(
            lambda name, others, owner_token: run_status.poll(name, others, owner_token, None),
            [progress.run, progress.others, state.owner],
            poll.outputs,
            **INSTANT_EVENT,
        )
    commands = ((progress.stop, "stop"), (progress.sample_now, "sample_now"), (progress.save_now, "save_now"))
    for button, command in commands:
        send = partial(run_status.send, command=command)
        poll.after(button.click(send, owned, button, api_name=f"{command}_run", **INSTANT_EVENT))
    progress.resume.click(
        lambda: gr.Button(run_status.STARTING, interactive=False), None, progress.resume, **INSTANT_EVENT
    )
    resumed = progress.resume.click(run_status.resume, [*owned, setup.duration], progress.resume, **UNLIMITED_EVENT)
    resumed.failure(lambda: gr.Button(run_status.CONTINUE, interactive=True), None, progress.resume, **INSTANT_EVENT)
    poll.after(resumed)
    opened = progress.open_in_sample.click(run_status.open_latest, owned, [tabs, sample_inputs[0]], **UNLIMITED_EVENT)
    opened.success(None, None, None, js="() => window.scrollTo({top: 0})")
    opened.then(show_classes, sample_inputs[:2], sample_inputs[1:], **UNLIMITED_EVENT)
    progress.more.expand(
        lambda owner_token: gr.Dropdown(run_list.visible_names(owner_token)),
        state.owner,
        progress.others,
        **UNLIMITED_EVENT,
    )


def _connect_rows(
    setup: layout.RunSettings,
    stage: layout.Stage,
    progress: layout.RunProgress,
    manager: layout.RunManager,
    state: TabState,
    poll: _Poll,
    model: Component,
) -> None:
    """Connect the hidden buttons that the rows of the list click. The row in question comes from run_list.js.

    `model`: the model of the Sample tab.
    """
    owned, actions = [manager.row, state.owner], manager.actions
    views = [stage.report_view, stage.training_view]

    def connect(action: str, handler: Callable, inputs: list[Component], outputs: list[Any]) -> Dependency:
        js = ANSWERED_ROW if action in ("rename", "resume") else ROW
        # All rows share the hidden button of an action: that of one row must not drop that of another.
        event = actions[action].click(handler, inputs, outputs, js=js, trigger_mode="multiple", **UNLIMITED_EVENT)
        poll.after(event)
        return event

    connect("open", _open_run, owned, [progress.run, *views])
    renamed = connect("rename", run_actions.rename, [*owned, manager.new_name], [progress.run])
    renamed.success(
        _follow_rename, [manager.row, progress.run, model], model, js=ROW, trigger_mode="multiple", **UNLIMITED_EVENT
    )
    resumed = connect("resume", _resume_run, [*owned, setup.duration], [progress.resume, progress.run, *views])
    resumed.success(None, None, None, js=SCROLL_TO_PROGRESS)
    changes = [resumed, connect("delete", run_actions.delete, owned, [progress.run]), renamed]
    for changed in changes:  # the ZIP may contain files that no longer exist
        changed.success(lambda: gr.DownloadButton(value=None, visible=False), None, manager.download, **INSTANT_EVENT)
        changed.success(refresh_initial_models, setup.start_from, setup.start_from, **UNLIMITED_EVENT)
    connect("move_up", run_queue.move_up, owned, [])
    connect("remove", run_queue.remove, owned, [])
    poll.after(actions["pause"].click(run_queue.pause, None, None, **UNLIMITED_EVENT))
    packed = connect("export", run_actions.pack, owned, [manager.download])
    packed.success(None, None, None, js=CLICK_DOWNLOAD)


def _follow_rename(old: str | None, new: str | None, model: str | None) -> Any:
    """Return the update of the Sample tab's model, which may belong to the renamed run."""
    run, _, step = (model or "").rpartition("/")
    return gr.Dropdown(model_list.model_choices(), value=f"{new}/{step}") if run and run == old else gr.skip()


def refresh_initial_models(start_from: str | None) -> gr.Dropdown:
    """Return the update of the model to start from. A checkpoint of a run may have been renamed or deleted."""
    choices = form.initial_choices()
    is_gone = start_from not in dict(choices).values() and re.fullmatch(r"[^/]+/step_\d+", start_from or "")
    return gr.Dropdown(choices, value=choices[0][1]) if is_gone else gr.Dropdown(choices)


def _resume_run(name: str | None, owner_token: object, duration: str | None) -> tuple:
    """Queue the continuation of a run of the list, and show it."""
    return run_status.resume(name, owner_token, duration), *_open_run(name, owner_token)


def _open_run(name: str | None, owner_token: object) -> tuple[gr.Dropdown, gr.Column, gr.Column]:
    """Show a run of the list on the stage."""
    names = run_list.visible_names(owner_token)
    if name not in names:
        raise gr.Error(run_actions.RUN_NOT_FOUND, print_exception=False)
    return gr.Dropdown(names, value=name), *show_report(False)


def _connect_refresh(
    page: gr.Blocks,
    timer: gr.Timer,
    setup: layout.RunSettings,
    progress: layout.RunProgress,
    manager: layout.RunManager,
    state: TabState,
    poll: _Poll,
) -> None:
    """Update the lists when the page loads, and the selected run and the list of runs every second."""
    refreshed = page.load(
        _refresh, [setup.start_from, state.owner], [progress.run, setup.start_from, state.owner], **UNLIMITED_EVENT
    )
    refreshed.then(
        lambda name, owner_token: run_status.poll(name, None, owner_token, None),
        [progress.run, state.owner],
        poll.outputs,
        **INSTANT_EVENT,
    )
    timer.tick(run_status.poll, poll.inputs, poll.outputs, trigger_mode="once", **INSTANT_EVENT)
    page.load(run_rows.rows, state.owner, manager.table, api_name="list_runs", **UNLIMITED_EVENT)


def _refresh(start_from: str | None, owner_token: object) -> tuple[gr.Dropdown, gr.Dropdown, str]:
    """Return the list of runs, the list of initial models and the browser's token, which is created if it has none."""
    token = run_ownership.valid_or_new_token(owner_token)
    runs = gr.Dropdown(run_list.visible_names(token), value=run_list.default_run(token))
    return runs, refresh_initial_models(start_from), token
