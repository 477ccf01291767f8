"""python -m diffusion_demo evaluate"""

import argparse

from diffusion_demo.cli.options import add_setting
from diffusion_demo.errors import BadInput
from diffusion_demo.paths import path_option
from diffusion_demo.sampling.request import Request
from diffusion_demo.validation import fields_of

HELP = "evaluate a checkpoint or given samples: bits per dimension, Frechet distances, precision and recall, copies"
METRICS = ("nll", "fd", "sfd", "is", "pr", "nn")
METRICS_HELP = (
    "comma-separated; nll: bits per dimension of the held-out images; fd, sfd: Frechet distance of the feature vectors "
    "and of spatial features; is: Inception Score; pr: precision and recall; nn: nearest training images. "
    "Default: nll,fd with a checkpoint, else fd"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to the parser."""
    parser.add_argument(
        "--checkpoint", metavar="DIR|NAME|HUB_ID", help="as for sample; with --samples it is needed only for nll"
    )
    parser.add_argument(
        "--data",
        required=True,
        action="append",
        metavar="DIR|ZIP|NPZ",
        help="reference images, with subfolders as classes, or a reference batch (arr_0); repeat it for several "
        "folders or ZIP files",
    )
    parser.add_argument(
        "--samples",
        type=path_option,
        metavar="DIR|NPZ",
        help="evaluate these images, a folder or a sample batch (arr_0), instead of sampling",
    )
    parser.add_argument("--metrics", metavar="NAMES", help=METRICS_HELP)
    parser.add_argument(
        "--features",
        default="avatars",
        choices=("avatars", "inception"),
        help="avatars: bundled classifier of avatars (default); inception: needs torch-fidelity",
    )
    _add_preparation_options(parser)
    _add_sampling_options(parser)
    parser.add_argument(
        "--work", type=path_option, metavar="DIR", help="keep samples and partial results here; resume from them"
    )
    parser.add_argument(
        "--save-npz",
        type=path_option,
        metavar="FILE",
        help="write the samples in the format of the papers' code: arr_0, and arr_1 for classes",
    )
    parser.add_argument("--json", action="store_true", help="report as JSON on stdout, with the curve over t")


def _add_preparation_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fit",
        metavar="crop|pad|squash",
        help="how the images of --data become squares; default: as in the training of the checkpoint, else crop",
    )
    parser.add_argument(
        "--background",
        metavar="COLOR",
        help="color behind them, as in train; default: as in the training, else #ffffff",
    )
    parser.add_argument(
        "--class-from",
        metavar="folder|file_name",
        help="where their classes come from; default: as in the training, else folder",
    )


def _add_sampling_options(parser: argparse.ArgumentParser) -> None:
    fields = fields_of(Request)
    parser.add_argument("--num-images", type=int, default=512, metavar="N", help="Number of samples (default: 512).")
    steps = "Steps of the chain for nll, by default all, and of the sampler, as for sample."
    add_setting(parser, "steps", fields["steps"], help=steps)
    add_setting(parser, "seed", fields["seed"], default=0, help="Seed of the first image and of the bootstrap.")
    for name in ("sampler", "eta", "guidance_scale", "guidance_interval"):
        add_setting(parser, name, fields[name])


def _parse_metrics(parsed: argparse.Namespace) -> list[str]:
    """Return the requested metrics. Raises BadInput if the other options do not provide what they need."""
    if not (parsed.checkpoint or parsed.samples):
        raise BadInput("Nothing to evaluate. Give a checkpoint with --checkpoint or images with --samples.")
    names: str = parsed.metrics or ("nll,fd" if parsed.checkpoint else "fd")
    metrics = [name.strip() for name in names.split(",")]
    if not all(name in METRICS for name in metrics):
        raise BadInput(f"Metrics must be a comma-separated list of {', '.join(METRICS)}, not {parsed.metrics!r}.")
    if "nll" in metrics and not parsed.checkpoint:
        raise BadInput("nll needs a model. Give its --checkpoint, or leave nll out.")
    return metrics


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    """Evaluate, print the report and return the exit code."""
    metrics = _parse_metrics(parsed)
    from diffusion_demo.cli.evaluation import evaluate

    evaluate(parsed, metrics)
    return 0
