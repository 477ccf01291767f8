"""The Train tab: drop pictures, choose for how long, watch it learn, open the result."""

from pathlib import Path

import gradio as gr

from diffusion_demo.ui import pictures, run_view, train_form
from diffusion_demo.ui.sample_tab import show_classes

HERE = Path(__file__).parent


def build(page: gr.Blocks, tabs: gr.Tabs, opened: list[gr.components.Component], local: bool) -> None:
    """Lay out the tab and wire it. `opened` are the Sample tab's model, class and guidance, which Open in Sample sets.

    Where the page is served to this machine alone (local), a path on it can be typed.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            files = gr.File(
                label="Pictures, or one zip of them", file_count="multiple", file_types=["image", ".zip"], height=150, elem_id="train-files"
            )
            gr.Markdown("In a zip, folders become classes. Dropped folders lose their names, so zip them first.", elem_classes="hint")
            drawn = gr.Button("Nothing at hand? Take drawn shapes", size="sm", elem_id="train-drawn")
            path = gr.Textbox(label="Or a folder or zip on this machine", placeholder="/home/me/pictures", submit_btn="Look", visible=local)
            report = gr.HTML(elem_id="train-report")
            start_from = gr.Dropdown(train_form.starts(), label="Start from", info="A trained model learns new pictures sooner.", interactive=True)
            length = gr.Radio(list(train_form.LENGTHS), value=next(iter(train_form.LENGTHS)), label="For how long", interactive=True)
            with gr.Accordion("All settings", open=False):
                size = gr.Dropdown([16, 32, 64, 128], value=32, label="Picture size", info="Of a new network. 64 takes four times as long as 32.")
                batch = gr.Slider(1, 128, 32, step=1, precision=0, label="Batch size", buttons=[])
                rate = gr.Textbox("", label="Learning rate", placeholder="5e-4; 1e-4 from a trained model")
                flip = gr.Checkbox(True, label="Mirror half of the pictures", info="Off for letters.")
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31)
            note = gr.HTML(elem_id="train-note")
            with gr.Row():
                start = gr.Button("Start", variant="primary", interactive=False, scale=3, min_width=120, elem_id="train-start")
                stop = gr.Button("Stop", variant="stop", interactive=False, scale=1, min_width=80, elem_id="train-stop")
        with gr.Column(scale=5, min_width=320, elem_classes="results", elem_id="train-results"):
            run = gr.Dropdown(run_view.run_names(), value=run_view.current_run(), label="Run", interactive=True, elem_id="train-run")
            line = gr.HTML(elem_id="train-line")
            timeline = gr.HTML(
                {"frames": [], "empty": run_view.NO_RUN},
                html_template=(HERE / "timeline.html").read_text(encoding="utf-8"),
                js_on_load=(HERE / "timeline.js").read_text(encoding="utf-8"),
                elem_id="timeline",
            )
            curve = gr.HTML(
                {"views": []},
                html_template=(HERE / "curves.html").read_text(encoding="utf-8"),
                js_on_load=(HERE / "curves.js").read_text(encoding="utf-8"),
                elem_id="curves",
            )
            with gr.Row():
                open_in_sample = gr.Button("Open in Sample", interactive=False, min_width=110, elem_id="train-open")
                resume = gr.Button("Go on", interactive=False, min_width=80, elem_id="train-resume")
                sample_now = gr.Button("Preview now", interactive=False, min_width=100)
                save_now = gr.Button("Save now", interactive=False, min_width=80)
            with gr.Accordion("The command", open=False):
                command = gr.Code(language="shell", interactive=False, show_label=False, elem_id="train-command")
    data, seen, timer = gr.State(None), gr.State(None), gr.Timer(1.0)
    form = [data, start_from, length, size, batch, rate, flip, seed]
    view = [seen, line, timeline, curve, stop, resume, open_in_sample, sample_now, save_now, command]

    quiet = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    at_once = quiet | {"queue": False}
    looking = {"api_visibility": "private", "concurrency_limit": None, "show_progress_on": [report]}
    looks = [
        files.upload(pictures.look_at_files, files, [data, report], **looking),
        drawn.click(pictures.look_at_drawn, None, [data, report], **looking),
    ]
    if local:
        looks.append(path.submit(pictures.look_at_path, path, [data, report], **looking))
    for look in looks:
        look.then(train_form.check, form, [note, start], **quiet)
    files.clear(lambda: (None, "", "", gr.Button(interactive=False)), None, [data, report, note, start], **at_once)
    for field in form[1:]:
        field.change(train_form.check, form, [note, start], **quiet)
    start.click(train_form.start, form, [run, start], **quiet).then(run_view.poll, [run, seen], view, **at_once)
    run.change(lambda name: run_view.poll(name, None), run, view, **at_once)
    for button, word in ((stop, "stop"), (sample_now, "sample_now"), (save_now, "save_now")):
        button.click(lambda name, word=word: run_view.say(name, word), run, button, **at_once)
    resume.click(lambda name, length: run_view.resume(name, train_form.LENGTHS[length]), [run, length], resume, **quiet)
    open_in_sample.click(run_view.open_latest, run, [tabs, opened[0]], **quiet).then(show_classes, opened[:2], opened[1:], **quiet)
    page.load(_refresh, start_from, [run, start_from], **quiet).then(lambda name: run_view.poll(name, None), run, view, **at_once)
    timer.tick(run_view.poll, [run, seen], view, trigger_mode="once", **at_once)


def _refresh(start_from: str | None):
    starts = train_form.starts()
    kept = start_from if start_from in dict(starts) else starts[0][1]
    return gr.Dropdown(run_view.run_names(), value=run_view.current_run()), gr.Dropdown(starts, value=kept)
