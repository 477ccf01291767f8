"""Import of an OpenAI checkpoint file (.pt) on the Sample tab."""

import argparse
import shlex
from pathlib import Path
from typing import Any, NoReturn

import gradio as gr
from gradio.events import Dependency

from diffusion_demo.cli import import_
from diffusion_demo.errors import BadInput
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.sample import words
from diffusion_demo.ui.server import model_list, warmup
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import uploads

COMMAND_LINE_ONLY = ("--out", "--class-names", "--json")


def build(model: gr.Dropdown) -> Dependency:
    """Lay out the drop zone and connect it. Return the import event, after which the new model is selected."""
    with gr.Accordion(words.IMPORT, open=False, elem_id="import"):
        gr.Markdown(words.IMPORT_HINT, elem_classes="hint")
        file = gr.File(label=words.IMPORT_FILE, file_types=[".pt", ".pth"], height=120, elem_id="import-file")
        options = gr.Textbox(
            label=words.IMPORT_OPTIONS,
            placeholder="--num-head-channels 64 --beta-schedule cosine --num-train-timesteps 1000 --image-size 64",
            elem_id="import-options",
        )
        start = gr.Button(words.IMPORT_START, interactive=False, elem_id="import-start")
        report = gr.HTML(elem_id="import-report")
    private: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": 1}
    for event in (file.upload, file.clear):
        event(lambda path: gr.Button(interactive=path is not None), file, start, queue=False, **private)
    return gr.on(
        [start.click, options.submit],
        import_file,
        [file, options],
        [report, model],
        show_progress_on=[report],
        **private,
    )


def import_file(path: str | None, options: str | None) -> tuple:
    """Import a checkpoint file with the command line options of `import`.

    Return the HTML of a report, and the update of the model dropdown, which selects the new model if it generates
    images. Raises gr.Error.
    """
    warmup.wait()
    from diffusion_demo.models.openai.convert import import_network

    with user_errors_as_toasts():
        if not settings().anywhere:
            raise BadInput("This page does not import models. Run the program on your own machine.")
        if path is None:
            raise BadInput("No file yet. Drop a .pt file first.")
        out = _new_folder(Path(path).stem)
        parsed = _parser(import_).parse_args([path, "--out", str(out), *_split_options(options)])
        imported = import_network(
            parsed.file, parsed.out, import_.parse_import_options(parsed), f"the page's import of {Path(path).name}"
        )
    line = f"<p>Imported: {imported.parameters:,} parameters. Saved in {model_list.IMPORTED / out.name}.</p>"
    generates_images = imported.description.task == "diffusion"
    return line, gr.Dropdown(model_list.model_choices(), value=out.name) if generates_images else gr.skip()


class _Parser(argparse.ArgumentParser):
    """Argument parser that raises BadInput instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"The import options cannot be read: {message}.")


def _parser(import_command: Any) -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    import_command.add_options(parser)
    return parser


def _split_options(options: str | None) -> list[str]:
    """Return the options as a list of arguments. Raises BadInput for unbalanced quotes or a forbidden option."""
    try:
        arguments = shlex.split(options or "")
    except ValueError as error:
        raise BadInput(f"The import options cannot be read: {error}.") from error
    if any(argument.split("=")[0] in COMMAND_LINE_ONLY for argument in arguments):
        raise BadInput("--out, --class-names and --json work on the command line only. Leave them out here.")
    return arguments


def _new_folder(stem: str) -> Path:
    """Return a folder of IMPORTED whose name is not in use."""
    name = uploads.safe_name(stem, "model")
    in_use = {path.name for path in model_list.IMPORTED.glob("*")} | set(model_list.model_folders())
    candidates = (name, *(f"{name}-{i}" for i in range(2, 100_000)))
    return model_list.IMPORTED / next(candidate for candidate in candidates if candidate not in in_use)
