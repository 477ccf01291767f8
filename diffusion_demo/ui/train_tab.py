"""The Train tab: drop pictures, choose for how long, watch it learn, open the result."""

import html
import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.models.description import checkpoint_name
from diffusion_demo.training.launch import arguments_of, last_words, launch, tell
from diffusion_demo.training.run import RunFolder
from diffusion_demo.training.status import Status, status_of
from diffusion_demo.ui import choices, plots, uploads, warmup
from diffusion_demo.ui.sample_tab import show_classes

HERE = Path(__file__).parent
SCRATCH = "a new small network"
LENGTHS = {"A first look, 3 minutes": 3, "A quarter of an hour": 15, "An hour": 60, "An evening, 4 hours": 240}
NO_RUN = "Nothing has been trained here yet. Drop some pictures on the left and press Start."
STARTING_SECONDS = 90


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
            start_from = gr.Dropdown(_starts(), label="Start from", info="A trained model learns new pictures sooner.", interactive=True)
            length = gr.Radio(list(LENGTHS), value=next(iter(LENGTHS)), label="For how long", interactive=True)
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
            run = gr.Dropdown(_runs(), value=_current(), label="Run", interactive=True, elem_id="train-run")
            line = gr.HTML(elem_id="train-line")
            timeline = gr.HTML(
                {"frames": [], "empty": NO_RUN},
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
    looks = [files.upload(_look_at_files, files, [data, report], **looking), drawn.click(_look_at_drawn, None, [data, report], **looking)]
    if local:
        looks.append(path.submit(_look_at_path, path, [data, report], **looking))
    for look in looks:
        look.then(_check, form, [note, start], **quiet)
    files.clear(lambda: (None, "", "", gr.Button(interactive=False)), None, [data, report, note, start], **at_once)
    for field in form[1:]:
        field.change(_check, form, [note, start], **quiet)
    start.click(_start, form, [run, start], **quiet).then(_poll, [run, seen], view, **at_once)
    run.change(lambda name: _poll(name, None), run, view, **at_once)
    for button, word in ((stop, "stop"), (sample_now, "sample_now"), (save_now, "save_now")):
        button.click(lambda name, word=word: _tell(name, word), run, button, **at_once)
    resume.click(_resume, [run, length], resume, **quiet)
    open_in_sample.click(_open, run, [tabs, opened[0]], **quiet).then(show_classes, opened[:2], opened[1:], **quiet)
    page.load(_refresh, start_from, [run, start_from], **quiet).then(lambda name: _poll(name, None), run, view, **at_once)
    timer.tick(_poll, [run, seen], view, trigger_mode="once", **at_once)


def _starts() -> list[tuple[str, str]]:
    """What can be trained on: every model that is a network, and a new one."""
    return [*((name, name) for name, title in ((name, title) for title, name in choices.titles()) if name == title), (SCRATCH, SCRATCH)]


def _runs() -> list[str]:
    """The runs by name, newest first."""
    found = [path.parent for path in choices.RUNS.glob("[!.]*/*") if path.name in ("config.json", "trainer.log")]
    return [path.name for path in sorted(set(found), key=lambda path: path.stat().st_ctime, reverse=True)]


def _current() -> str | None:
    """The run that a person who comes (back) wants to see: the one that is training, else the newest."""
    runs = _runs()
    training = (name for name in runs if status_of(RunFolder(choices.RUNS / name)).state == "running")
    return next(training, next(iter(runs), None))


def _run(name: str | None) -> RunFolder | None:
    """The run of a listed name: never a path that somebody sends."""
    return RunFolder(choices.RUNS / name) if name in _runs() else None


def _refresh(start_from: str | None):
    starts = _starts()
    kept = start_from if start_from in dict(starts) else starts[0][1]
    return gr.Dropdown(_runs(), value=_current()), gr.Dropdown(starts, value=kept)


# the pictures


def _look_at_files(files: list[str] | None, progress=gr.Progress()):
    return _look(lambda: uploads.keep(files), progress) if files else (None, "")


def _look_at_drawn(progress=gr.Progress()):
    return _look(uploads.drawn, progress)


def _look_at_path(path: str, progress=gr.Progress()):
    return _look(lambda: Path(path.strip()).expanduser().resolve(), progress) if path.strip() else (None, "")


def _look(find: Callable[[], Path], progress: gr.Progress):
    """Where the pictures lie, and the report of what they are."""
    warmup.wait()
    from diffusion_demo import data

    try:
        source = find()
        found = data.scan(source, progress=lambda done, total: progress((done, total), desc="Looking at the pictures", unit="pictures"))
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error
    return str(source), _report(found)


def _report(found) -> str:
    """What was found, as the page shows it: the very crops that the network will see, counts, warnings, and rejects with their reasons."""
    from diffusion_demo import data
    from diffusion_demo.images import contact_sheet
    from diffusion_demo.ui.film import sheet_uri

    summary = found.summary()
    shown = data.examples(found, 16)
    classes = ", ".join(f"{html.escape(name)} ({count:,})" for name, count in summary["classes"].items())
    facts = [f"{summary['pictures']:,} pictures", f"{summary['held_out']:,} held out to measure on"]
    warnings = "".join(f"<li>{html.escape(words)}</li>" for words in found.warnings)
    rejects = "".join(f"<li><b>{html.escape(name)}</b>: {html.escape(reason)}</li>" for name, reason in list(found.rejected.items())[:50])
    return (
        f'<div class="report"><img class="crops" src="{sheet_uri(contact_sheet(shown, 8))}" alt="the pictures as the network will see them">'
        f"<p><b>{'; '.join(facts)}.</b>{f' Classes: {classes}.' if classes else ' No classes.'}</p>"
        + (f"<ul>{warnings}</ul>" if warnings else "")
        + (f"<details><summary>Not usable: {len(found.rejected):,}</summary><ul>{rejects}</ul></details>" if rejects else "")
        + "</div>"
    )


# the form


def _settings(data, start_from, length, size, batch, rate, flip, seed) -> dict:
    """The form as settings of TrainConfig. Raises BadInput for a field that cannot be read."""
    if batch is None or seed is None:
        raise BadInput("Fill in the batch size and the seed.")
    fresh = start_from == SCRATCH
    try:
        learning_rate = float(rate) if rate and rate.strip() else (5e-4 if fresh else 1e-4)
    except ValueError as error:
        raise BadInput(f"The learning rate must be a number such as 5e-4, not {rate!r}.") from error
    start = {"preset": "small", "image_size": int(size)} if fresh else {"init_from": str(choices.folder_of(start_from))}
    return {"data": data, **start, "batch_size": int(batch), "learning_rate": learning_rate, "flip": bool(flip), "seed": int(seed)}


def _config(*form):
    """What the form would train with. Raises BadInput for what cannot be."""
    from diffusion_demo.training.config import config_of

    return config_of(_settings(*form))


def _check(data, *form):
    """A word on what Start would do, or why it cannot, and the button."""
    if not data:
        return "", gr.Button(interactive=False)
    warmup.wait()
    try:
        config = _config(data, *form)
    except BadInput as error:
        return f'<p class="problem">{html.escape(str(error))}</p>', gr.Button(interactive=False)
    start_from, length = form[0], form[1]
    pace = _pace(start_from, config.image_size, config.batch_size)
    seen = pace * 60 * LENGTHS[length]
    words = f"About {seen:,.0f} pictures will be seen in {LENGTHS[length]} minutes, at {pace:.0f} a second on this machine."
    return f"<p>{words}</p>", gr.Button(interactive=True)


@lru_cache(maxsize=32)
def _pace(start_from: str, size: int, batch_size: int) -> float:
    """Pictures a second that this machine trains on, timed once for each choice."""
    from diffusion_demo.diffusion.process import Diffusion
    from diffusion_demo.diffusion.schedules import named_betas
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.models.unet import build_unet
    from diffusion_demo.training.pace import images_per_second

    if start_from == SCRATCH:
        chain = Diffusion(named_betas("squaredcos_cap_v2", 1000), variance_type="learned_range")
        return images_per_second(build_unet("small", size, 3, learns_variance=True, num_classes=0), chain, batch_size)
    start = load_checkpoint(choices.folder_of(start_from))
    return images_per_second(start.unet, start.diffusion, batch_size)


def _steps_between_previews(pace: float, batch_size: int, minutes: int) -> int:
    """As many steps as pass in a twelfth of the time, and no fewer than half a minute's."""
    return max(20, math.ceil(max(30, 60 * minutes / 12) * pace / batch_size))


# the run


def _start(*form):
    warmup.wait()
    try:
        if not form[0]:
            raise BadInput("Drop some pictures first.")
        config = _config(*form)
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error
    if any(status_of(run).state == "running" for run in filter(None, map(_run, _runs()))):
        raise gr.Error("A training is going on already; stop it first, or wait for its end.", print_exception=False)
    minutes = LENGTHS[form[2]]
    steps = _steps_between_previews(_pace(form[1], config.image_size, config.batch_size), config.batch_size, minutes)
    run = RunFolder(choices.RUNS / _new_name(Path(form[0]).stem))
    launch(run, arguments_of(run, _settings(*form) | {"sample_every": steps, "save_every": 2 * steps}, minutes))
    return gr.Dropdown(_runs(), value=run.path.name), gr.Button(interactive=False)


def _new_name(stem: str) -> str:
    """A name that no run has: the pictures' own, numbered."""
    stem, taken = uploads.safe_name(stem, "run"), set(_runs())
    return next(name for name in (f"{stem}-{i}" for i in range(1, 100_000)) if name not in taken)


def _resume(name, length):
    run = _run(name)
    if run is None or not run.exists:
        raise gr.Error("This run is not there any more; choose another.", print_exception=False)
    launch(run, ["--run", str(run.path), "--resume", "--max-minutes", str(LENGTHS[length])])
    return gr.Button(interactive=False)


def _tell(name, word):
    run = _run(name)
    if run is not None:
        tell(run, word)
    return gr.Button(interactive=False)


def _open(name):
    run = _run(name)
    latest = run.latest() if run else None
    if latest is None:
        raise gr.Error("This run has saved no model yet; press Save now.", print_exception=False)
    return gr.Tabs(selected="sample"), gr.Dropdown(choices.titles(), value=checkpoint_name(latest))


def _poll(name, seen):
    """The run as it stands, or nothing at all where nothing has changed since `seen`."""
    run = _run(name)
    if run is None:
        return [None, "", {"frames": [], "empty": NO_RUN}, {"views": []}, *[gr.Button(interactive=False)] * 5, ""]
    status = status_of(run)
    words = _line(run, status)
    mark = [name, status.state, status.step, len(status.previews), len(status.saved), run.exists, words]
    if mark == seen:
        return [gr.skip()] * 10
    running, same = status.state == "running", bool(seen) and mark[:1] == seen[:1]
    return [
        mark,
        words,
        gr.skip() if same and mark[3] == seen[3] else plots.timeline(run.path, status, "The first preview comes after twenty steps."),
        gr.skip() if same and mark[2] == seen[2] else plots.curves(status),
        gr.Button(interactive=running),
        gr.Button(interactive=status.state in ("finished", "failed", "interrupted") and run.latest() is not None),
        gr.Button(interactive=run.latest() is not None),
        gr.Button(interactive=running),
        gr.Button(interactive=running),
        gr.skip() if same and mark[5] == seen[5] else _command(run),
    ]


def _command(run: RunFolder) -> str:
    return run.read_config()[2] if run.exists else ""


def _line(run: RunFolder, status: Status) -> str:
    """One line: how it stands, how far it is, how long it takes; where it is kept."""
    parts = [f'<b class="state {status.state}">{_STATE_WORDS[status.state]}</b>']
    if status.step:
        parts.append(f"step {status.step:,}" + (f" of {status.max_steps:,}" if status.max_steps else ""))
        parts.append(f"{status.images_seen:,} pictures seen in all")
    if status.state == "running":
        parts += [f"{status.images_per_second:.0f} a second"] if status.images_per_second else []
        parts += [f"{_duration(status.seconds_left)} left"] if status.seconds_left is not None else []
        parts += [f"{status.memory / 1e9:.1f} GB"] if status.memory else []
    if status.state == "empty":
        parts.append(html.escape(last_words(run)))
    if status.message:
        parts.append(html.escape(status.message))
    return f'<p class="line">{" · ".join(filter(None, parts))}</p><p class="where">Everything is in {html.escape(str(run.path))}</p>'


_STATE_WORDS = {
    "empty": "Starting",
    "running": "Training",
    "finished": "Finished",
    "failed": "Stopped by an error",
    "interrupted": "Interrupted; Go on takes it up again",
}


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
