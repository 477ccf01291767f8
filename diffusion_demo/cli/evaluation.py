"""Evaluation by the `evaluate` command. Its options are in evaluate.py, because this module loads torch."""

import argparse
import json
from dataclasses import fields, replace
from typing import Any

from tqdm import tqdm

from diffusion_demo import data
from diffusion_demo.cli.options import given
from diffusion_demo.errors import BadInput
from diffusion_demo.evaluation.class_matching import specs_in_data_proportions
from diffusion_demo.evaluation.extractor import Extractor
from diffusion_demo.evaluation.feature_classifier import feature_classifier_extractor, load_feature_classifier
from diffusion_demo.evaluation.inception import inception_extractor
from diffusion_demo.evaluation.metrics import check_metrics, compute_metrics
from diffusion_demo.evaluation.nll import report_held_out_bound
from diffusion_demo.evaluation.npz import check_output_path, write_npz
from diffusion_demo.evaluation.reference import Preparation, Reference, load_reference
from diffusion_demo.evaluation.report import report_lines
from diffusion_demo.evaluation.samples import Samples, draw_samples, load_samples
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.models.metadata import checkpoint_name
from diffusion_demo.runtime.device import best_device
from diffusion_demo.sampling.request import Request
from diffusion_demo.training.run_folder import resolve_checkpoint
from diffusion_demo.validation import fields_of


def evaluate(parsed: argparse.Namespace, metrics: list[str]) -> None:
    """Compute the metrics with the options of the command and print the report. Raises BadInput."""
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


def _preparation(parsed: argparse.Namespace, checkpoint: Checkpoint | None) -> Preparation:
    """Return the preparation given by the options; what they leave out is that of the checkpoint's training images."""
    names = [field.name for field in fields(Preparation)]
    trained = {name: getattr(checkpoint.description, name) for name in names} if checkpoint else {}
    chosen = {name: getattr(parsed, name) for name in names if getattr(parsed, name) is not None}
    return replace(Preparation(**trained), **chosen)


def _compared(metrics: list[str]) -> list[str]:
    """Return the metrics that compare samples with the reference."""
    return [name for name in metrics if name != "nll"]


def _check_inputs(
    parsed: argparse.Namespace, metrics: list[str], checkpoint: Checkpoint | None, reference: Reference
) -> tuple[Samples | None, Request | None, Extractor | None]:
    """Return the given samples, or else the request to sample, and the extractor; None for what is not needed.

    Raises BadInput for everything that can be checked before the measurements, which may take hours.
    """
    compared, samples, request = _compared(metrics), None, None
    sampling = _parse_request(parsed)  # checks the options even if nothing is sampled
    if "nll" in metrics and not isinstance(reference.source, data.Report):
        raise BadInput("nll needs a folder or zip of images as --data, not a batch. Give one, or leave nll out.")
    if parsed.save_npz:
        check_output_path(parsed.save_npz)
    if parsed.samples:
        samples = load_samples(parsed.samples)
    elif compared or parsed.save_npz:
        assert checkpoint is not None
        request = sampling
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


def _measure_nll(parsed: argparse.Namespace, checkpoint: Checkpoint, reference: Reference) -> dict[str, Any]:
    with tqdm(unit="image", disable=parsed.json, delay=1) as bar:
        return report_held_out_bound(checkpoint, reference, parsed.steps, parsed.seed, parsed.work, bar.update)


def _draw_samples(
    parsed: argparse.Namespace, checkpoint: Checkpoint, name: str, request: Request, reference: Reference
) -> Samples:
    specs = specs_in_data_proportions(reference.classes, checkpoint.description, request)
    with tqdm(total=len(specs), unit="image", disable=parsed.json, delay=1) as bar:
        return draw_samples(checkpoint, name, request, specs, parsed.work, bar.update)


def _parse_request(parsed: argparse.Namespace) -> Request:
    return Request(**given(parsed, fields_of(Request)))


def _load_extractor(name: str) -> Extractor:
    if name == "inception":
        return inception_extractor(best_device())
    return feature_classifier_extractor(load_feature_classifier(best_device()))
