"""python -m diffusion_demo evaluate"""

import argparse
import json
from pathlib import Path

from diffusion_demo.cli.sample import steps
from diffusion_demo.errors import BadInput

HELP = "measure a checkpoint or given samples: bits per dimension, Frechet distances, precision and recall, copies"
METRICS = ("nll", "fd", "sfd", "is", "pr", "nn")
MEANINGS = (
    "nll: bits per dimension of the held-out images; fd, sfd: Frechet distance, of spatial features too; is: Inception Score; "
    "pr: precision and recall; nn: nearest training images. Default: nll,fd, without a checkpoint fd"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", metavar="DIR|HUB_ID", help="as for sample; not needed with --samples, but for nll"
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR|ZIP|NPZ",
        help="images, sub-folders are classes; or a reference batch (arr_0)",
    )
    parser.add_argument(
        "--samples",
        metavar="DIR|NPZ",
        help="measure these images, a folder or a sample batch (arr_0), instead of sampling",
    )
    parser.add_argument("--metrics", metavar="NAMES", help=MEANINGS)
    parser.add_argument(
        "--features",
        default="judge",
        choices=("judge", "inception"),
        help="judge: our own; inception: needs torch-fidelity",
    )
    parser.add_argument(
        "--steps", type=steps, metavar="N", help="of the chain (nll; default: all) and of the sampler (default: 12)"
    )
    parser.add_argument("--num-images", type=int, default=512, metavar="N", help="images sampled; default: 512")
    parser.add_argument("--sampler", default="dpm_solver", metavar="NAME", help="default: dpm_solver")
    parser.add_argument("--guidance-scale", type=float, default=1.0, metavar="W", help="default: 1, off")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of the first image, and of what is drawn for the errors"
    )
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="keep samples and partial results here, and go on from them; nn draws its pairs here",
    )
    parser.add_argument(
        "--save-npz",
        type=Path,
        metavar="FILE",
        help="write the samples as the papers' code does: arr_0, and arr_1 for classes",
    )
    parser.add_argument("--json", action="store_true", help="report as JSON on stdout, with the curve over t")


def _metrics(parsed: argparse.Namespace) -> list[str]:
    """The measures that are asked for. Raises BadInput where the other options do not give what they need."""
    if not (parsed.checkpoint or parsed.samples):
        raise BadInput("Give --checkpoint to sample from, or images that are there with --samples.")
    wanted = (parsed.metrics or ("nll,fd" if parsed.checkpoint else "fd")).split(",")
    if not all(name in METRICS for name in wanted):
        raise BadInput(f"Metrics must be of {', '.join(METRICS)}, with commas between, not {parsed.metrics!r}.")
    if "nll" in wanted and not parsed.checkpoint:
        raise BadInput("nll is measured on a model; give its --checkpoint, or leave nll out.")
    return wanted


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    metrics = _metrics(parsed)
    compared = [name for name in metrics if name != "nll"]

    from tqdm import tqdm

    from diffusion_demo import data
    from diffusion_demo.evaluation.class_matching import measure_nll, specs_in_proportion
    from diffusion_demo.evaluation.metrics import check, compare
    from diffusion_demo.evaluation.npz import check_target, write_npz
    from diffusion_demo.evaluation.reference import reference_at
    from diffusion_demo.evaluation.report import report_lines
    from diffusion_demo.evaluation.samples import given, sampled
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.models.metadata import checkpoint_name
    from diffusion_demo.runtime.device import best_device
    from diffusion_demo.training.run_folder import resolve_checkpoint

    report, checkpoint, samples = {}, None, None
    if parsed.checkpoint:
        folder = resolve_checkpoint(parsed.checkpoint)
        checkpoint, name = load_checkpoint(folder, best_device()), checkpoint_name(folder)
        report |= {"checkpoint": name, "weights": checkpoint.weights}
    reference = reference_at(parsed.data)
    report |= {"data": reference.summary, "seed": parsed.seed}

    # All that can be refused is refused before the hours begin.
    if "nll" in metrics and not isinstance(reference.source, data.Report):
        raise BadInput(
            "nll is measured on a folder or zip of images, not on a batch; give one as --data, or leave nll out."
        )
    if parsed.save_npz:
        check_target(parsed.save_npz)
    if parsed.samples:
        samples = given(parsed.samples)
    elif compared or parsed.save_npz:
        request = _request(parsed)
        request.check(checkpoint.description)
    if compared:
        count, side = (
            (len(samples.images), samples.images.shape[3])
            if samples
            else (parsed.num_images, checkpoint.description.image_size)
        )
        check(compared, count, side, reference)
        extractor = _extractor(parsed.features)

    if "nll" in metrics:
        with tqdm(unit="picture", disable=parsed.json, delay=1) as bar:
            report["nll"] = measure_nll(
                checkpoint, reference.source, parsed.steps, parsed.seed, parsed.work, bar.update
            )
    if samples is None and (compared or parsed.save_npz):
        dataset = specs_in_proportion(reference.classes, checkpoint.description, request)
        with tqdm(total=len(dataset), unit="image", disable=parsed.json, delay=1) as bar:
            samples = sampled(checkpoint, name, request, dataset, parsed.work, bar.update)
    if parsed.save_npz:
        write_npz(parsed.save_npz, samples.images, samples.labels)
        report["saved"] = str(parsed.save_npz)
    if compared:
        report |= {"samples": {"pictures": len(samples.images)} | samples.made, "features": extractor.name}
        report |= compare(samples, reference, compared, extractor, parsed.seed, parsed.work)
    print(json.dumps(report) if parsed.json else "\n".join(report_lines(report)))
    return 0


def _request(parsed: argparse.Namespace):
    from diffusion_demo.sampling.presets import DEFAULT_ETA
    from diffusion_demo.sampling.request import Request

    return Request(
        num_images=parsed.num_images,
        sampler=parsed.sampler,
        steps=Request.steps if parsed.steps is None else parsed.steps,
        eta=DEFAULT_ETA.get(parsed.sampler, 0.0),
        seed=parsed.seed,
        guidance_scale=parsed.guidance_scale,
    )


def _extractor(name: str):
    from diffusion_demo.evaluation.feature_classifier import feature_classifier_extractor, load_feature_classifier
    from diffusion_demo.evaluation.inception import inception_extractor
    from diffusion_demo.runtime.device import best_device

    return (
        inception_extractor(best_device())
        if name == "inception"
        else feature_classifier_extractor(load_feature_classifier(best_device()))
    )
