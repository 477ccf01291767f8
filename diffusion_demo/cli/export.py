"""python -m diffusion_demo export"""

import argparse

from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import checkpoint_name
from diffusion_demo.paths import path_option
from diffusion_demo.training.run_folder import resolve_checkpoint

HELP = "export a checkpoint as a folder for diffusers' DDPMPipeline, for one class or unconditional"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to the parser."""
    parser.add_argument("--checkpoint", required=True, metavar="DIR|NAME|HUB_ID", help="as for sample")
    parser.add_argument(
        "--out", required=True, type=path_option, metavar="DIR", help="output folder, which must not exist"
    )
    parser.add_argument(
        "--class",
        dest="class_name",
        metavar="NAME",
        help="class the exported model samples; default: unconditional",
    )


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    """Export the checkpoint and return the exit code."""
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.models.export import export

    folder = resolve_checkpoint(parsed.checkpoint)
    try:
        export(load_checkpoint(folder), checkpoint_name(folder), parsed.out, parsed.class_name)
    except OSError as error:
        raise BadInput(f"Cannot write to {parsed.out} ({error.strerror or error}). Choose another folder.") from error
    print(
        f"Load it with DDPMPipeline.from_pretrained('{parsed.out}');"
        f" upload it to the Hub with hf upload YOUR_NAME/{parsed.out.name} {parsed.out}"
    )
    return 0
