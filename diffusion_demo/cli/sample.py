"""python -m diffusion_demo sample"""

import argparse
import json
from typing import TYPE_CHECKING

from diffusion_demo.cli.options import add_setting, given
from diffusion_demo.models.metadata import checkpoint_name
from diffusion_demo.paths import path_option
from diffusion_demo.sampling.request import Request, class_index, image_specs
from diffusion_demo.training.run_folder import resolve_checkpoint
from diffusion_demo.validation import fields_of

if TYPE_CHECKING:
    from diffusion_demo.models.checkpoint import Checkpoint

HELP = "sample images from a checkpoint"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a call, and one for each field of Request."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="DIR|NAME|HUB_ID",
        help="A checkpoint, a run folder (its latest checkpoint), a diffusers folder, a bundled checkpoint such as "
        "avatars-32, or a Hugging Face Hub id.",
    )
    parser.add_argument(
        "--out", required=True, type=path_option, metavar="DIR", help="Output folder of seed_00000000.png and so on."
    )
    for name, field in fields_of(Request).items():
        if name == "class_index":
            parser.add_argument("--class", dest="class_name", metavar="NAME|INDEX", help=field.description)
        else:
            add_setting(parser, name, field)
    parser.add_argument(
        "--classifier", metavar="DIR", help="Noisy classifier that guides. Default: the one in the model folder."
    )
    parser.add_argument(
        "--upsampler",
        metavar="DIR",
        help="A model that enlarges each image after sampling, such as avatars-64.",
    )
    parser.add_argument("--json", action="store_true", help="Report as JSON on stdout.")


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    """Sample images into a folder and return the exit code."""
    from tqdm import tqdm

    from diffusion_demo.models.checkpoint import load_checkpoint, with_classifier
    from diffusion_demo.runtime.device import best_device
    from diffusion_demo.sampling.image_writer import sample_to_folder

    folder, provenance, upsampler = resolve_checkpoint(parsed.checkpoint), {}, None
    checkpoint = load_checkpoint(folder, best_device())
    if parsed.classifier is not None:
        other = resolve_checkpoint(parsed.classifier)
        checkpoint, provenance["classifier"] = with_classifier(checkpoint, other), checkpoint_name(other)
    if parsed.upsampler is not None:
        other = resolve_checkpoint(parsed.upsampler)
        upsampler, provenance["upsampler"] = load_checkpoint(other, best_device()), checkpoint_name(other)
    request = _parse_request(parsed, checkpoint)
    bars = []

    def progress(images: int) -> None:
        if not bars:  # created late, so that an error is the only output
            bars.append(tqdm(total=request.num_images, unit="image", disable=parsed.json))
        bars[0].update(images)

    specs, name = image_specs(request, checkpoint.description), checkpoint_name(folder)
    paths = sample_to_folder(checkpoint, name, request, specs, parsed.out, progress, upsampler, **provenance)
    bars[0].close()
    if parsed.json:
        print(json.dumps({"files": [str(path) for path in paths]}))
    else:
        print(f"{len(paths)} image{'s' * (len(paths) != 1)} in {parsed.out}")
    return 0


def _parse_request(parsed: argparse.Namespace, checkpoint: "Checkpoint") -> Request:
    """Return the request given by the options. Raises BadInput if the model does not support it."""
    settings = given(parsed, fields_of(Request))
    if parsed.class_name is not None:
        settings["class_index"] = class_index(parsed.class_name, checkpoint.description)
    request = Request(**settings)
    request.check(checkpoint.description)
    return request
