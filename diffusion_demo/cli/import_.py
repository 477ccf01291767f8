"""python -m diffusion_demo import"""

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from diffusion_demo.errors import BadInput
from diffusion_demo.paths import path_option
from diffusion_demo.untrusted_files import check_readable, read_regular

if TYPE_CHECKING:
    from diffusion_demo.models.openai.options import ImportOptions

HELP = "import an OpenAI U-Net or noisy classifier (.pt of guided-diffusion or improved-diffusion)"
ALIASES = {"cosine": "squaredcos_cap_v2"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to the parser."""
    parser.add_argument(
        "file",
        type=path_option,
        metavar="FILE.pt",
        help="weights: model*.pt, ema_*.pt or *_classifier.pt; no code in the file is ever run",
    )
    parser.add_argument(
        "--out", required=True, type=path_option, metavar="DIR", help="output checkpoint folder, which must not exist"
    )
    _add_network_options(parser)
    _add_diffusion_options(parser)
    parser.add_argument("--weights", metavar="NAME", help="which network of a file that holds several, such as ema")
    parser.add_argument(
        "--class-names", type=path_option, metavar="FILE", help="one class name per line, by index; default: numbers"
    )
    parser.add_argument("--json", action="store_true", help="report as JSON on stdout")


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="S",
        help="image size in pixels; not needed for classifiers with attention pooling",
    )
    parser.add_argument(
        "--small-size",
        type=int,
        metavar="S",
        help="size in pixels of the images that an upsampler enlarges; not needed for the released ones",
    )
    parser.add_argument("--num-heads", type=int, metavar="N", help="heads of every attention layer, at any width")
    parser.add_argument(
        "--num-heads-upsample", type=int, metavar="N", help="heads in the upsampling half; default: --num-heads"
    )
    parser.add_argument(
        "--num-head-channels",
        type=int,
        metavar="C",
        help="width of a head; overrides --num-heads, as in OpenAI's code",
    )
    parser.add_argument(
        "--new-attention-order",
        action="store_true",
        help="q, k and v are stored one after another (of the released models: only ADM-64)",
    )
    parser.add_argument(
        "--num-res-blocks", type=int, metavar="N", help="for a classifier whose weights fit several architectures"
    )


def _add_diffusion_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--beta-schedule", metavar="NAME", help="linear or cosine (squaredcos_cap_v2)")
    parser.add_argument("--num-train-timesteps", type=int, metavar="T", help="OpenAI's diffusion_steps")
    parser.add_argument(
        "--rescale-timesteps",
        action="store_true",
        help="the network was trained on t * 1000/T (default of improved-diffusion)",
    )
    parser.add_argument(
        "--variance-type",
        default="fixed_large",
        metavar="NAME",
        help="fixed_large or fixed_small, for models without learned variance; default: fixed_large",
    )
    parser.add_argument(
        "--prediction-type",
        default="epsilon",
        metavar="NAME",
        help="epsilon, or sample for OpenAI's predict_xstart; default: epsilon",
    )


def parse_import_options(parsed: argparse.Namespace) -> "ImportOptions":
    """Return the import options. Raises BadInput if the file of class names cannot be read."""
    from diffusion_demo.models.openai.options import ImportOptions

    return ImportOptions(
        image_size=parsed.image_size,
        beta_schedule=ALIASES.get(parsed.beta_schedule, parsed.beta_schedule),
        num_train_timesteps=parsed.num_train_timesteps,
        num_heads=parsed.num_heads,
        num_heads_upsample=parsed.num_heads_upsample,
        num_head_channels=parsed.num_head_channels,
        new_attention_order=parsed.new_attention_order,
        rescale_timesteps=parsed.rescale_timesteps,
        variance_type=parsed.variance_type,
        prediction_type=parsed.prediction_type,
        num_res_blocks=parsed.num_res_blocks,
        small_size=parsed.small_size,
        class_names=_read_lines(parsed.class_names) if parsed.class_names else None,
        weights=parsed.weights,
    )


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    """Import the file, print a summary and return the exit code."""
    from diffusion_demo.models.openai.convert import import_network

    imported = import_network(
        parsed.file,
        parsed.out,
        parse_import_options(parsed),
        shlex.join(["python", "-m", "diffusion_demo", *arguments]),
    )
    layout, classes = imported.layout, len(imported.description.class_names)
    if parsed.json:
        report = {
            "folder": str(parsed.out),
            "network": imported.network,
            "parameters": imported.parameters,
            "widths": layout.widths,
            "blocks": layout.blocks,
            "classes": classes,
            "task": imported.description.task,
        }
        print(json.dumps(report))
    else:
        print(
            f"{imported.parameters:,} parameters on {len(layout.widths)} levels of {layout.blocks} blocks,"
            f" {classes} classes: {parsed.out}"
        )
    return 0


def _read_lines(file: Path) -> tuple[str, ...]:
    try:
        text = read_regular(file).decode("utf-8-sig")
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        check_readable(file)
        raise BadInput(
            f"Cannot read {file} as text. Give --class-names a text file with one class name per line."
        ) from error
