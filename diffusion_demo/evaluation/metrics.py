"""Metrics that compare samples with reference images: fd, sfd, is, pr and nn, as JSON reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion_demo.errors import BadInput
from diffusion_demo.evaluation.extractor import Extractor, Features
from diffusion_demo.evaluation.frechet import FeatureStatistics, frechet_estimate
from diffusion_demo.evaluation.inception_score import inception_score, score_estimate, split_scores
from diffusion_demo.evaluation.memorization import measure_memorization
from diffusion_demo.evaluation.precision_recall import MAX_IMAGES, NEIGHBORS, precision_recall_estimates
from diffusion_demo.evaluation.reference import Reference
from diffusion_demo.evaluation.samples import Samples


@dataclass(frozen=True, eq=False)
class MetricInputs:
    """Samples and reference as images uint8 [N, C, S, S] and as features.

    The first num_training reference images were used for training, the others were held out. statistics: those stored
    with the reference, by the name of the features.
    """

    samples: Tensor
    reference: Tensor
    sample_features: Features
    reference_features: Features
    num_training: int
    extractor: Extractor
    seed: int
    work: Path | None
    statistics: dict[str, FeatureStatistics]

    def frechet(self) -> dict[str, Any]:
        """Return the Frechet distance of the feature vectors."""
        return self._frechet("vectors")

    def spatial_frechet(self) -> dict[str, Any]:
        """Return the Frechet distance of the spatial features."""
        return self._frechet("spatial")

    def _frechet(self, kind: str) -> dict[str, Any]:
        samples, reference = getattr(self.sample_features, kind), getattr(self.reference_features, kind)
        stored = self.statistics.get(kind) if self.extractor.is_papers else None
        if stored is not None and len(stored.mean) == samples.shape[1]:
            estimate, source = frechet_estimate(samples, stored, self.seed), "stored"
        else:
            estimate, source = frechet_estimate(samples, reference, self.seed), "computed"
        details = {"dimensions": samples.shape[1], "reference_statistics": source}
        return {"distance": estimate.value} | estimate.spread() | details

    def inception_score(self) -> dict[str, Any]:
        """Return the Inception Score of the samples and of the reference."""
        probabilities = self.sample_features.probabilities
        estimate = score_estimate(probabilities, self.seed)
        return (
            {"score": estimate.value}
            | estimate.spread()
            | {"splits": split_scores(probabilities)._asdict(), "classes": probabilities.shape[1]}
            | {"score_of_reference": inception_score(self.reference_features.probabilities)}
        )

    def precision_recall(self) -> dict[str, Any]:
        """Return improved precision and recall of the feature vectors."""
        precision, recall = precision_recall_estimates(
            self.sample_features.vectors, self.reference_features.vectors, self.seed
        )
        return {
            "precision": {"value": precision.value} | precision.spread(),
            "recall": {"value": recall.value} | recall.spread(),
            "neighbors": NEIGHBORS,
            "samples": min(MAX_IMAGES, len(self.samples)),
            "reference": min(MAX_IMAGES, len(self.reference)),
        }

    def memorization(self) -> dict[str, Any]:
        """Return how near the samples are to the training images; with `work`, write the sheet work/nearest.png."""
        samples = self.samples, self.sample_features.vectors
        reference = self.reference, self.reference_features.vectors
        sheet = self.work / "nearest.png" if self.work else None
        return measure_memorization(samples, reference, self.num_training, self.extractor, self.seed, sheet)


COMPARISON_METRICS = {
    "fd": MetricInputs.frechet,
    "sfd": MetricInputs.spatial_frechet,
    "is": MetricInputs.inception_score,
    "pr": MetricInputs.precision_recall,
    "nn": MetricInputs.memorization,
}
MIN_IMAGES = {"fd": 2, "sfd": 2, "is": 2, "pr": 20, "nn": 2}


def check_metrics(metrics: Sequence[str], num_samples: int, side: int, reference: Reference) -> None:
    """Raise BadInput if the metrics cannot be computed on num_samples samples of side x side pixels.

    To be called before sampling, which may take hours.
    """
    strictest = max(metrics, key=MIN_IMAGES.__getitem__)
    minimum = MIN_IMAGES[strictest]
    if min(num_samples, len(reference)) < minimum:
        raise BadInput(f"{strictest} needs at least {minimum} samples and {minimum} reference images.")
    if "nn" in metrics and isinstance(reference.source, Tensor) and reference.source.shape[2:] != (side, side):
        raise BadInput(
            f"nn compares pixels, so the images of --data must be {side} x {side} like the samples."
            " Use other images, or leave nn out."
        )


def compute_metrics(
    samples: Samples,
    reference: Reference,
    metrics: Sequence[str],
    extractor: Extractor,
    seed: int = 0,
    work: Path | None = None,
) -> dict[str, Any]:
    """Return the report of each metric, with the numbers of images and the name of the features.

    Every bootstrap starts from `seed`. nn writes its sheet of nearest pairs into `work`. Raises BadInput if `work`
    cannot be written.
    """
    channels, side = samples.images.shape[1:3]
    check_metrics(metrics, len(samples.images), side, reference)
    training, held_out = reference.parts(side, channels)
    images = torch.cat([training, held_out])
    features = extractor(samples.images), extractor(images)
    inputs = MetricInputs(samples.images, images, *features, len(training), extractor, seed, work, reference.statistics)
    common = {"samples": len(samples.images), "reference": len(images), "features": extractor.name}
    try:
        return {name: common | compute(inputs) for name, compute in COMPARISON_METRICS.items() if name in metrics}
    except OSError as error:
        raise BadInput(f"Cannot write to {work} ({error.strerror or error}). Choose another folder.") from error
