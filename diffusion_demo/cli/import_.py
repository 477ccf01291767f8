"""python -m diffusion_demo import"""

import argparse
import json
import shlex
from pathlib import Path

from diffusion_demo.errors import BadInput

HELP = "make a checkpoint of an OpenAI U-Net or noisy classifier (.pt of guided-diffusion or improved-diffusion)"
ALIASES = {"cosine": "squaredcos_cap_v2"}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE.pt",
        help="the weights: model*.pt, ema_*.pt or *_classifier.pt; nothing in it is ever run",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="the checkpoint folder, which must be new"
    )
    parser.add_argument(
        "--image-size", type=int, metavar="S", help="pixels a side; a classifier with the attention pool says it itself"
    )
    parser.add_argument("--beta-schedule", metavar="NAME", help="linear or cosine (squaredcos_cap_v2)")
    parser.add_argument("--num-train-timesteps", type=int, metavar="T", help="their diffusion_steps")
    parser.add_argument("--num-heads", type=int, metavar="N", help="heads in every attention, whatever its width")
    parser.add_argument("--num-heads-upsample", type=int, metavar="N", help="another number on the way up")
    parser.add_argument(
        "--num-head-channels", type=int, metavar="C", help="width of a head; goes before --num-heads, as in their code"
    )
    parser.add_argument(
        "--new-attention-order",
        action="store_true",
        help="q, k and v lie one after another (of the released ones: only ADM-64)",
    )
    parser.add_argument(
        "--rescale-timesteps",
        action="store_true",
        help="the network was told t * 1000/T (improved-diffusion's default)",
    )
    parser.add_argument(
        "--variance-type",
        default="fixed_large",
        metavar="NAME",
        help="fixed_large or fixed_small, where it is not learned",
    )
    parser.add_argument(
        "--prediction-type", default="epsilon", metavar="NAME", help="epsilon, or sample for their predict_xstart"
    )
    parser.add_argument(
        "--num-res-blocks", type=int, metavar="N", help="of a classifier that can be read in several ways"
    )
    parser.add_argument(
        "--class-names", type=Path, metavar="FILE", help="one name a line, by index; else their numbers"
    )
    parser.add_argument("--json", action="store_true", help="report as JSON on stdout")


def parse_import_options(parsed: argparse.Namespace):
    """The options as models.openai_told.Told."""
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
        class_names=_lines(parsed.class_names) if parsed.class_names else None,
    )


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    from diffusion_demo.models.openai.convert import import_network

    imported = import_network(
        parsed.file,
        parsed.out,
        parse_import_options(parsed),
        shlex.join(["python", "-m", "diffusion_demo", *arguments]),
    )
    layout, classes = imported.layout, len(imported.description.class_names)
    if parsed.json:
        facts = {
            "widths": layout.widths,
            "blocks": layout.blocks,
            "classes": classes,
            "task": imported.description.task,
        }
        print(
            json.dumps(
                {"folder": str(parsed.out), "network": imported.network, "parameters": imported.parameters} | facts
            )
        )
    else:
        print(
            f"{imported.parameters:,} parameters on {len(layout.widths)} levels of {layout.blocks} blocks, {classes} classes: {parsed.out}"
        )
    return 0


def _lines(file: Path) -> tuple[str, ...]:
    try:
        return tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{file} cannot be read as lines of text; give --class-names a file with one name a line."
        ) from error
