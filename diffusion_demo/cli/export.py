"""python -m diffusion_demo export"""

import argparse
from pathlib import Path

from diffusion_demo.errors import BadInput

HELP = "make a folder that diffusers' DDPMPipeline opens, for one class or for none"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, metavar="DIR|HUB_ID", help="as for sample")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder, which must be new")
    parser.add_argument(
        "--class", dest="class_name", metavar="NAME", help="the class that it is to make; default: none in particular"
    )


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.models.export import export
    from diffusion_demo.models.metadata import checkpoint_name
    from diffusion_demo.training.run_folder import resolve_checkpoint

    folder = resolve_checkpoint(parsed.checkpoint)
    try:
        export(load_checkpoint(folder), checkpoint_name(folder), parsed.out, parsed.class_name)
    except OSError as error:
        raise BadInput(f"Cannot write to {parsed.out} ({error.strerror or error}); choose another folder.") from error
    print(
        f"DDPMPipeline.from_pretrained('{parsed.out}') samples from it; to put it on the Hub: hf upload YOUR_NAME/{parsed.out.name} {parsed.out}"
    )
    return 0
