"""python -m diffusion_demo export"""

import argparse
from pathlib import Path
from typing import Any

from diffusion_demo.cli.options import add_setting, read_json_object
from diffusion_demo.errors import BadInput
from diffusion_demo.hub.account import writing_api
from diffusion_demo.hub.publish import publish
from diffusion_demo.hub.publish_settings import LICENSES, PublishSettings
from diffusion_demo.models.metadata import checkpoint_name
from diffusion_demo.paths import path_option
from diffusion_demo.training.run_folder import resolve_checkpoint
from diffusion_demo.validation import fields_of

HELP = "export a checkpoint as a folder for diffusers' DDPMPipeline, or publish it on the Hugging Face Hub"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to the parser."""
    parser.add_argument("--checkpoint", required=True, metavar="DIR|NAME|HUB_ID", help="as for sample")
    parser.add_argument("--out", type=path_option, metavar="DIR", help="output folder, which must not exist")
    parser.add_argument(
        "--class",
        dest="class_name",
        metavar="NAME",
        help="class the exported model samples; default: unconditional",
    )
    hub = parser.add_argument_group("publishing", "With --out, the exported model is published, else the checkpoint.")
    hub.add_argument("--push-to-hub", metavar="USER/NAME", help="publish as this model on the Hub")
    for name, field in fields_of(PublishSettings).items():
        if name != "name":
            add_setting(hub, name, field)  # pyright: ignore[reportArgumentType]  # a group takes options as a parser does
    hub.add_argument(
        "--evaluation", type=path_option, metavar="FILE", help="output of evaluate --json, for the model card"
    )


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    """Export or publish the checkpoint and return the exit code."""
    if parsed.out is None and (parsed.push_to_hub is None or parsed.class_name is not None):
        raise BadInput("No destination is given. Add --out DIR, or --push-to-hub USER/NAME for the whole checkpoint.")
    publication, report = _publication(parsed), _report(parsed.evaluation)
    folder = resolve_checkpoint(parsed.checkpoint)
    if parsed.out is not None:
        _export(folder, parsed.out, parsed.class_name)
        folder = parsed.out
    if publication:
        print(f"Published as {publish(Path(folder), publication, writing_api(), report)}")
        print(f"Use it anywhere by its name: sample --checkpoint {publication.name}")
    return 0


def _publication(parsed: argparse.Namespace) -> PublishSettings | None:
    if parsed.push_to_hub is None:
        return None
    if parsed.license is None:
        raise BadInput(f"No license is given. Add --license NAME, one of {', '.join(LICENSES)}.")
    return PublishSettings(parsed.push_to_hub, parsed.license, bool(parsed.private), parsed.dataset)


def _report(file: Path | None) -> dict[str, Any]:
    """Return the report of `evaluate --json` in a file, empty without a file. Raises BadInput."""
    return read_json_object(file, "Create it with: evaluate --json.") if file else {}


def _export(folder: Path, out: Path, class_name: str | None) -> None:
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.models.export import export

    export(load_checkpoint(folder), checkpoint_name(folder), out, class_name)
    print(
        f"Load it with DDPMPipeline.from_pretrained('{out}');"
        f" upload it to the Hub with hf upload YOUR_NAME/{out.name} {out}"
    )
