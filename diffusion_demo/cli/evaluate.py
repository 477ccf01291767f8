"""python -m diffusion_demo evaluate"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_demo.cli.options import add_setting, given
from diffusion_demo.errors import BadInput

if TYPE_CHECKING:
    from diffusion_demo.evaluation.extractor import Extractor
    from diffusion_demo.evaluation.reference import Preparation, Reference
    from diffusion_demo.evaluation.samples import Samples
    from diffusion_demo.models.checkpoint import Checkpoint
    from diffusion_demo.sampling.request import Request

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
        metavar="DIR|ZIP|NPZ",
        help="reference images, with subfolders as classes, or a reference batch (arr_0)",
    )
    parser.add_argument(
        "--samples",
        metavar="DIR|NPZ",
        help="evaluate these images, a folder or a sample batch (arr_0), instead of sampling",
    )
    parser.add_argument("--metrics", metavar="NAMES", help=METRICS_HELP)
    parser.add_argument(
        "--features",
        default="judge",
        choices=("judge", "inception"),
        help="judge: the bundled feature classifier; inception: needs torch-fidelity; default: judge",
    )
    _add_preparation_options(parser)
    _add_sampling_options(parser)
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="keep samples, partial results and the nn sheet here; resume from them"
    )
    parser.add_argument(
        "--save-npz",
        type=Path,
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
    from diffusion_demo.sampling.request import Request
    from diffusion_demo.validation import fields_of

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
    metrics = names.split(",")
    if not all(name in METRICS for name in metrics):
        raise BadInput(f"Metrics must be a comma-separated list of {', '.join(METRICS)}, not {parsed.metrics!r}.")
    if "nll" in metrics and not parsed.checkpoint:
        raise BadInput("nll needs a model. Give its --checkpoint, or leave nll out.")
    return metrics


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    """Evaluate, print the report and return the exit code."""
    metrics = _parse_metrics(parsed)

    from diffusion_demo.evaluation.metrics import compute_metrics
    from diffusion_demo.evaluation.npz import write_npz
    from diffusion_demo.evaluation.reference import load_reference
    from diffusion_demo.evaluation.report import report_lines
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.models.metadata import checkpoint_name
    from diffusion_demo.runtime.device import best_device
    from diffusion_demo.training.run_folder import resolve_checkpoint

    report, checkpoint, name = {}, None, ""
    if parsed.checkpoint:
        folder = resolve_checkpoint(parsed.checkpoint)
        checkpoint, name = load_checkpoint(folder, best_device()), checkpoint_name(folder)
        report |= {"checkpoint": name, "weights": checkpoint.weights}
    reference = load_reference(parsed.data, _preparation(parsed, checkpoint))
    report |= {"data": reference.summary, "seed": parsed.seed}
    samples, request, extractor = _check_inputs(parsed, metrics, checkpoint, reference)
    if "nll" in metrics:
        assert checkpoint is not None
        report["nll"] = _measure_nll(parsed, checkpoint, reference)
    if request is not None:
        assert checkpoint is not None
        samples = _draw_samples(parsed, checkpoint, name, request, reference)
    if parsed.save_npz:
        assert samples is not None
        write_npz(parsed.save_npz, samples.images, samples.labels)
        report["saved"] = str(parsed.save_npz)
    if extractor is not None:
        assert samples is not None
        report |= {"samples": {"images": len(samples.images)} | samples.settings, "features": extractor.name}
        report |= compute_metrics(samples, reference, _compared(metrics), extractor, parsed.seed, parsed.work)
    print(json.dumps(report) if parsed.json else "\n".join(report_lines(report)))
    return 0


def _preparation(parsed: argparse.Namespace, checkpoint: "Checkpoint | None") -> "Preparation":
    """Return the preparation that the options name, and else that of the checkpoint's training images."""
    from dataclasses import fields, replace

    from diffusion_demo.evaluation.reference import Preparation

    names = [field.name for field in fields(Preparation)]
    trained = {name: getattr(checkpoint.description, name) for name in names} if checkpoint else {}
    given = {name: getattr(parsed, name) for name in names if getattr(parsed, name) is not None}
    return replace(Preparation(**trained), **given)


def _compared(metrics: list[str]) -> list[str]:
    """Return the metrics that compare samples with the reference."""
    return [name for name in metrics if name != "nll"]


def _check_inputs(
    parsed: argparse.Namespace, metrics: list[str], checkpoint: "Checkpoint | None", reference: "Reference"
) -> tuple["Samples | None", "Request | None", "Extractor | None"]:
    """Return the given samples, or else the request to sample, and the extractor; None for what is not needed.

    Raises BadInput for everything that can be checked before the measurements, which may take hours.
    """
    from diffusion_demo import data
    from diffusion_demo.evaluation.metrics import check_metrics
    from diffusion_demo.evaluation.npz import check_output_path
    from diffusion_demo.evaluation.samples import load_samples

    compared, samples, request = _compared(metrics), None, None
    if "nll" in metrics and not isinstance(reference.source, data.Report):
        raise BadInput("nll needs a folder or zip of images as --data, not a batch. Give one, or leave nll out.")
    if parsed.save_npz:
        check_output_path(parsed.save_npz)
    if parsed.samples:
        samples = load_samples(parsed.samples)
    elif compared or parsed.save_npz:
        assert checkpoint is not None
        request = _parse_request(parsed)
        request.check(checkpoint.description)
    if not compared:
        return samples, request, None
    if samples is not None:
        count, side = len(samples.images), samples.images.shape[3]
    else:
        assert checkpoint is not None
        count, side = parsed.num_images, checkpoint.description.image_size
    check_metrics(compared, count, side, reference)
    return samples, request, _load_extractor(parsed.features)


def _measure_nll(parsed: argparse.Namespace, checkpoint: "Checkpoint", reference: "Reference") -> dict[str, Any]:
    from tqdm import tqdm

    from diffusion_demo.evaluation.nll import report_held_out_bound

    with tqdm(unit="image", disable=parsed.json, delay=1) as bar:
        return report_held_out_bound(checkpoint, reference, parsed.steps, parsed.seed, parsed.work, bar.update)


def _draw_samples(
    parsed: argparse.Namespace, checkpoint: "Checkpoint", name: str, request: "Request", reference: "Reference"
) -> "Samples":
    from tqdm import tqdm

    from diffusion_demo.evaluation.class_matching import specs_in_proportion
    from diffusion_demo.evaluation.samples import draw_samples

    specs = specs_in_proportion(reference.classes, checkpoint.description, request)
    with tqdm(total=len(specs), unit="image", disable=parsed.json, delay=1) as bar:
        return draw_samples(checkpoint, name, request, specs, parsed.work, bar.update)


def _parse_request(parsed: argparse.Namespace) -> "Request":
    from diffusion_demo.sampling.request import Request
    from diffusion_demo.validation import fields_of

    return Request(**given(parsed, fields_of(Request)))


def _load_extractor(name: str) -> "Extractor":
    from diffusion_demo.evaluation.feature_classifier import feature_classifier_extractor, load_feature_classifier
    from diffusion_demo.evaluation.inception import inception_extractor
    from diffusion_demo.runtime.device import best_device

    if name == "inception":
        return inception_extractor(best_device())
    return feature_classifier_extractor(load_feature_classifier(best_device()))
