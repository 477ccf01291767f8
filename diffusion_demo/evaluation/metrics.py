"""Samples beside a reference -> the figures of fd, sfd, is, pr and nn, ready for JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffusion_demo.errors import BadInput
from diffusion_demo.evaluation.extractor import Extractor, Features
from diffusion_demo.evaluation.frechet import frechet_estimate
from diffusion_demo.evaluation.inception_score import inception_score, score_estimate, split_scores
from diffusion_demo.evaluation.memorization import measure_memorization
from diffusion_demo.evaluation.precision_recall import MOST, NEIGHBORS, precision_recall_estimates
from diffusion_demo.evaluation.reference import Reference
from diffusion_demo.evaluation.samples import Samples


@dataclass(frozen=True, eq=False)
class Comparison:
    """Both sides as images uint8 [N, C, S, S] and as features; the first `training` images were trained on, the others held out."""

    samples: Tensor
    specs: Tensor
    ours: Features
    theirs: Features
    training: int
    extractor: Extractor
    seed: int
    work: Path | None

    def fd(self) -> dict:
        return self._distance(self.ours.vectors, self.theirs.vectors)

    def sfd(self) -> dict:
        return self._distance(self.ours.spatial, self.theirs.spatial)

    def _distance(self, ours: Tensor, theirs: Tensor) -> dict:
        estimate = frechet_estimate(ours, theirs, self.seed)
        return {"distance": estimate.value} | estimate.spread() | {"dimensions": ours.shape[1]}

    def inception_score(self) -> dict:
        estimate = score_estimate(self.ours.probabilities, self.seed)
        own = {"splits": split_scores(self.ours.probabilities)._asdict(), "classes": self.ours.probabilities.shape[1]}
        return (
            {"score": estimate.value}
            | estimate.spread()
            | own
            | {"score_of_reference": inception_score(self.theirs.probabilities)}
        )

    def precision_recall(self) -> dict:
        estimates = precision_recall_estimates(self.ours.vectors, self.theirs.vectors, self.seed)
        figures = {
            name: {"value": e.value} | e.spread() for name, e in zip(("precision", "recall"), estimates, strict=True)
        }
        return figures | {
            "neighbours": NEIGHBORS,
            "samples": min(MOST, len(self.samples)),
            "reference": min(MOST, len(self.specs)),
        }

    def nn(self) -> dict:
        sides = (self.samples, self.ours.vectors), (self.specs, self.theirs.vectors)
        return measure_memorization(
            *sides, self.training, self.extractor, self.seed, self.work / "nearest.png" if self.work else None
        )


MEASURES = {
    "fd": Comparison.fd,
    "sfd": Comparison.sfd,
    "is": Comparison.inception_score,
    "pr": Comparison.precision_recall,
    "nn": Comparison.nn,
}
FEWEST = {"fd": 2, "sfd": 2, "is": 2, "pr": 20, "nn": 2}


def check(metrics: Sequence[str], samples: int, side: int, reference: Reference) -> None:
    """Raise BadInput where so many samples of that size cannot be measured against the reference: to be asked before they are made."""
    neediest = max(metrics, key=FEWEST.get)
    if min(samples, len(reference)) < FEWEST[neediest]:
        raise BadInput(f"{neediest} needs at least {FEWEST[neediest]} samples and as many images to compare them with.")
    if "nn" in metrics and isinstance(reference.source, Tensor) and reference.source.shape[2:] != (side, side):
        raise BadInput(
            f"nn compares pixels, so the images of --data must be {side} x {side} as the samples are; leave nn out."
        )


def compare(
    samples: Samples,
    reference: Reference,
    metrics: Sequence[str],
    extractor: Extractor,
    seed: int = 0,
    work: Path | None = None,
) -> dict:
    """The figures of each of the metrics, with what they were measured in and of how many. Every resampling begins at `seed`.

    nn draws its nearest pairs into `work`. Raises BadInput when that cannot be written.
    """
    channels, side = samples.images.shape[1:3]
    check(metrics, len(samples.images), side, reference)
    training, held_out = reference.parts(side, channels)
    specs = torch.cat([training, held_out])
    found = Comparison(
        samples.images, specs, extractor(samples.images), extractor(specs), len(training), extractor, seed, work
    )
    common = {"samples": len(samples.images), "reference": len(specs), "features": extractor.name}
    try:
        return {name: common | measure(found) for name, measure in MEASURES.items() if name in metrics}
    except OSError as error:
        raise BadInput(f"Cannot write to {work} ({error.strerror or error}); choose another folder.") from error
