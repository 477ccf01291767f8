"""A model of other people, dropped as a file of OpenAI's: imported beside the runs, and chosen."""

import argparse
import shlex
from pathlib import Path

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.server import model_list, warmup
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import uploads

HINT = (
    "A U-Net or noisy classifier of guided-diffusion or improved-diffusion. What no tensor tells is asked for in a sentence; "
    "for a released network it says what to type. Nothing in the file is run."
)


def build(model: gr.Dropdown) -> gr.events.Dependency:
    """Lay out the drop zone and wire it: what was imported becomes the model that is chosen. Returns the import, for what is to follow it."""
    with gr.Accordion("Bring a model of OpenAI's (.pt)", open=False, elem_id="bring"):
        gr.Markdown(HINT, elem_classes="hint")
        with gr.Row():
            file = gr.File(label="Its file", file_types=[".pt", ".pth"], height=120, elem_id="bring-file")
            with gr.Column():
                told = gr.Textbox(
                    label="What the file does not tell",
                    placeholder="--num-head-channels 64 --beta-schedule cosine --num-train-timesteps 1000 --image-size 64",
                    elem_id="bring-told",
                )
                start = gr.Button("Import", interactive=False, elem_id="bring-start")
        report = gr.HTML(elem_id="bring-report")
    quiet = {"api_visibility": "private", "concurrency_limit": 1}
    for event in (file.upload, file.clear):
        event(lambda path: gr.Button(interactive=path is not None), file, start, queue=False, **quiet)
    return gr.on(
        [start.click, told.submit], import_file, [file, told], [report, model], show_progress_on=[report], **quiet
    )


def import_file(path: str | None, told: str):
    """Import the file with those options of `import`. Returns a line about it, and the list of models with it chosen where it makes images."""
    warmup.wait()
    from diffusion_demo.cli import import_
    from diffusion_demo.models.openai.convert import import_network

    try:
        if not settings().anywhere:
            raise BadInput("This page takes no models of other people; run the program on your own machine.")
        if path is None:
            raise BadInput("Drop a .pt file first.")
        out = _new_folder(Path(path).stem)
        parsed = _parser(import_).parse_args([path, "--out", str(out), *_words(told)])
        imported = import_network(
            parsed.file, parsed.out, import_.parse_import_options(parsed), f"the page's import of {Path(path).name}"
        )
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error
    line = f"<p>{imported.parameters:,} parameters; it is in {model_list.IMPORTED / out.name}.</p>"
    return line, gr.Dropdown(
        model_list.titles(), value=out.name
    ) if imported.description.task == "diffusion" else gr.skip()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise BadInput(f"What the file does not tell cannot be read: {message}.")


def _parser(import_) -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    import_.add_options(parser)
    return parser


def _words(told: str | None) -> list[str]:
    try:
        words = shlex.split(told or "")
    except ValueError as error:
        raise BadInput(f"What the file does not tell cannot be read: {error}.") from error
    if any(word.split("=")[0] in ("--out", "--class-names", "--json") for word in words):
        raise BadInput("--out, --class-names and --json are for the command line; leave them out here.")
    return words


def _new_folder(stem: str) -> Path:
    name = uploads.safe_name(stem, "model")
    taken = {path.name for path in model_list.IMPORTED.glob("*")} | set(model_list.models())
    return model_list.IMPORTED / next(
        new for new in (name, *(f"{name}-{i}" for i in range(2, 100_000))) if new not in taken
    )
