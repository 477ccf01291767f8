"""The Train tab: drop images, choose for how long, watch it learn, open the result."""

from functools import partial

import gradio as gr

from diffusion_demo.paths import read_asset
from diffusion_demo.ui.sample.tab import show_classes
from diffusion_demo.ui.server import run_ownership
from diffusion_demo.ui.server.hf_space import NOTHING_LASTS
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import budget, dataset_preview, fields, form, run_actions, run_list, run_status

EVERYBODY_SEES = "Everybody who comes here sees your run and can make images with its model; only this browser can stop, delete or download it."


def build(page: gr.Blocks, tabs: gr.Tabs, opened: list[gr.components.Component]) -> None:
    """Lay out the tab and wire it. `opened` are the Sample tab's model, class and guidance, which Open in Sample sets."""
    anywhere = settings().anywhere
    with gr.Row():
        if not settings().training:
            with gr.Column(scale=2, min_width=300):
                gr.Markdown(settings().why_no_training, elem_id="train-off")
        with gr.Column(scale=2, min_width=300, visible=settings().training):
            if not settings().lasts:
                gr.Markdown(NOTHING_LASTS, elem_classes="warning", elem_id="nothing-lasts")
            if settings().public and settings().watch:
                gr.Markdown(EVERYBODY_SEES, elem_classes="hint")
            files = gr.File(
                label="Images, or one zip of them",
                file_count="multiple",
                file_types=["image", ".zip"],
                height=150,
                elem_id="train-files",
            )
            gr.Markdown(
                "In a zip, folders become classes. Dropped folders lose their names, so zip them first.",
                elem_classes="hint",
            )
            drawn = gr.Button("Nothing at hand? Take drawn shapes", size="sm", elem_id="train-drawn")
            path = gr.Textbox(
                label="Or a folder or zip on this machine",
                placeholder="/home/me/images",
                submit_btn="Look",
                visible=anywhere,
            )
            report = gr.HTML(elem_id="train-report")
            start_from = gr.Dropdown(
                form.starts(),
                label="Start from",
                info="A trained model learns new images sooner."
                + (" A folder or a name on the Hub, too." if anywhere else ""),
                allow_custom_value=anywhere,
                interactive=True,
            )
            offered = list(budget.offered())
            length = gr.Radio(offered, value=offered[0], label="For how long", interactive=True)
            with gr.Accordion("All settings", open=False, elem_id="train-settings"):
                settings_fields, noise = fields.build()
            note = gr.HTML(elem_id="train-note")
            with gr.Row():
                start = gr.Button(
                    "Start", variant="primary", interactive=False, scale=3, min_width=120, elem_id="train-start"
                )
                stop = gr.Button("Stop", variant="stop", interactive=False, scale=1, min_width=80, elem_id="train-stop")
        with gr.Column(scale=5, min_width=320, elem_classes="results", elem_id="train-results"):
            run = gr.Dropdown([], label="Run", interactive=True, elem_id="train-run")
            line = gr.HTML(elem_id="train-line")
            timeline = gr.HTML(
                {"frames": [], "empty": run_status.NO_RUN},
                html_template=read_asset("train/timeline.html"),
                js_on_load=read_asset("train/timeline.js"),
                elem_id="timeline",
            )
            curve = gr.HTML(
                {"views": []},
                html_template=read_asset("train/curves.html"),
                js_on_load=read_asset("train/curves.js"),
                elem_id="curves",
            )
            with gr.Row():
                open_in_sample = gr.Button("Open in Sample", interactive=False, min_width=110, elem_id="train-open")
                resume = gr.Button("Go on", interactive=False, min_width=80, elem_id="train-resume")
                sample_now = gr.Button("Preview now", interactive=False, min_width=100)
                save_now = gr.Button("Save now", interactive=False, min_width=80)
            with gr.Accordion("The command", open=False):
                command = gr.Code(interactive=False, show_label=False, wrap_lines=True, elem_id="train-command")
            with gr.Accordion("All runs", open=False, elem_id="train-runs") as everything:
                runs = gr.HTML(elem_id="train-table")
                others = gr.Dropdown(
                    [],
                    label="Compare its loss with",
                    multiselect=True,
                    max_choices=3,
                    interactive=True,
                    elem_id="train-compare",
                )
                with gr.Row():
                    pack = gr.Button("Make a zip of the run above", min_width=110)
                    packed = gr.DownloadButton("Download the zip", visible=False, min_width=110, elem_id="train-zip")
                    delete = gr.Button("Delete the run above", min_width=110)
                with gr.Row(visible=False) as asked:
                    sure = gr.Button("Delete it for good", variant="stop", min_width=110, elem_id="train-delete")
                    keep = gr.Button("Keep it", min_width=110)
    found, followed, wrong, seen, timer = gr.State(None), gr.State(None), gr.State(None), gr.State(None), gr.Timer(1.0)
    owner = run_ownership.browser()
    train_form = form.Form(start_from, settings_fields, anywhere)
    filled = [found, start_from, length, *settings_fields.values()]
    view = [seen, line, timeline, curve, stop, resume, open_in_sample, sample_now, save_now, command]

    quiet = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    at_once = quiet | {"queue": False}
    latest = quiet | {"trigger_mode": "always_last"}
    looking = {
        "api_visibility": "private",
        "concurrency_limit": 2,
        "concurrency_id": "pictures",
        "show_progress_on": [report],
    }
    checking = latest | {"concurrency_limit": 4}
    transform = [settings_fields[name] for name in dataset_preview.FRAMING]
    seen_as = [settings_fields["class_from"], *transform]
    files.upload(dataset_preview.scan_files, [files, *seen_as], [found, report], **looking)
    drawn.click(dataset_preview.scan_synthetic, seen_as, [found, report], **looking)
    settings_fields["class_from"].input(dataset_preview.rescan, [found, *seen_as], [found, report], **looking)
    if anywhere:
        path.submit(dataset_preview.scan_path, [path, *seen_as], [found, report], **looking)
    files.clear(lambda: (None, ""), None, [found, report], **at_once)
    for trigger in (start_from.change, page.load):
        trigger(train_form.follow, start_from, [followed, noise, *settings_fields.values()], **quiet)
    gr.on(
        [followed.change, *(field.input for field in transform)],
        dataset_preview.show,
        [found, *transform],
        report,
        **latest,
    )
    # one listener for everything that matters, so that no older answer overwrites a newer one
    anything = [found.change, followed.change, *(field.input for field in (length, *settings_fields.values()))]
    gr.on(
        anything,
        train_form.check,
        [wrong, *filled],
        [note, start, length, wrong, start_from, *settings_fields.values()],
        **checking,
    )

    one, watched = [run, owner], [run, others, owner, seen]
    start.click(train_form.start, [owner, *filled], [run, start], **quiet).then(
        run_status.poll, watched, view, **at_once
    )
    for choice in (run, others):
        choice.change(
            lambda name, others, held: run_status.poll(name, others, held, None), watched[:3], view, **at_once
        )
    for button, word in ((stop, "stop"), (sample_now, "sample_now"), (save_now, "save_now")):
        button.click(partial(run_status.say, word=word), one, button, api_name=f"{word}_run", **at_once)
    resume.click(run_status.resume, [*one, length], resume, **quiet)
    open_in_sample.click(run_status.open_latest, one, [tabs, opened[0]], **quiet).then(
        show_classes, opened[:2], opened[1:], **quiet
    )

    everything.expand(
        lambda held: (run_list.table(held), gr.Dropdown(run_list.names(held))),
        owner,
        [runs, others],
        api_name="list_runs",
        **quiet,
    )
    pack.click(run_actions.pack, one, packed, api_visibility="private", show_progress_on=[pack])
    delete.click(lambda: gr.Row(visible=True), None, asked, **at_once)
    keep.click(lambda: gr.Row(visible=False), None, asked, **at_once)
    sure.click(run_actions.delete, one, [run, runs], **quiet).then(
        lambda: gr.Row(visible=False), None, asked, **at_once
    )

    page.load(_refresh, [start_from, owner], [run, start_from, owner], **quiet).then(
        lambda name, held: run_status.poll(name, None, held, None), one, view, **at_once
    )
    timer.tick(run_status.poll, watched, view, trigger_mode="once", **at_once)


def _refresh(start_from: str | None, held: object):
    starts, held = form.starts(), run_ownership.secret(held)
    runs = gr.Dropdown(run_list.names(held), value=run_list.current(held))
    return runs, gr.Dropdown(starts, value=start_from if start_from in starts else starts[0]), held
