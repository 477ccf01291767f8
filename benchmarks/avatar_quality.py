"""Quality of the bundled model compared with real avatars of other seeds, as judged by the feature classifier.

    python -m benchmarks.avatar_quality TRAIN.zip TEST.zip WORK [IMAGES]

The zips are those of scripts.avatars; TRAIN.zip is the one that the model was trained on. Samples at the default
settings, equally many of each class, are compared with real images of test seeds. The same figures are printed for as
many other test images, which no model can beat except by chance. Only samples missing in WORK are generated.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.measuring import BUNDLED
from diffusion_demo import data
from diffusion_demo.evaluation.attributes import AttributeHeads, load_attribute_heads, novelty
from diffusion_demo.evaluation.extractor import Extractor
from diffusion_demo.evaluation.feature_classifier import (
    FEATURE_CLASSIFIER,
    feature_classifier_extractor,
    load_feature_classifier,
)
from diffusion_demo.evaluation.frechet import frechet_distance, frechet_estimate
from diffusion_demo.evaluation.nearest import closeness, nearest
from diffusion_demo.evaluation.precision_recall import precision_recall_estimates
from diffusion_demo.evaluation.samples import draw_samples
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.runtime.device import best_device
from diffusion_demo.sampling.request import Request, image_specs


class Images(NamedTuple):
    """Images uint8 [N, 3, S, S], their classes as indices of the model int64 [N], features [N, D], attributes."""

    pixels: Tensor
    labels: Tensor
    vectors: Tensor
    named: Tensor  # the classes that the classifier names, as indices of the model
    combinations: list[tuple[int, ...]]

    def rows(self, index: Tensor) -> "Images":
        """Return the images with these indices."""
        chosen = [self.combinations[row] for row in index.tolist()]
        return Images(self.pixels[index], self.labels[index], self.vectors[index], self.named[index], chosen)


class Reader:
    """Reads images with the feature classifier, in the model's class indices."""

    def __init__(self, class_names: tuple[str, ...]):
        classifier = load_feature_classifier(best_device())
        self.extract: Extractor = feature_classifier_extractor(classifier)
        self.heads: AttributeHeads = load_attribute_heads(FEATURE_CLASSIFIER)
        self.to_model = torch.tensor([class_names.index(name) for name in self.heads.class_names])
        self.from_model = self.to_model.argsort()

    def read(self, pixels: Tensor, labels: Tensor) -> Images:
        """Return images, uint8 [N, 3, S, S], of known classes, int64 [N], with what the classifier sees in them."""
        features = self.extract(pixels)
        combinations = self.heads.predict(features.vectors, self.from_model[labels])
        named = self.to_model[features.probabilities.argmax(1)]
        return Images(pixels, labels, features.vectors, named, combinations)


def load_split(path: str, held_out: bool) -> tuple[Tensor, Tensor]:
    """Return the images, uint8 [N, 3, 32, 32], and classes of one part of a data set."""
    loaded = data.load(data.scan(path), 32, 3, held_out=held_out)
    return loaded.images, loaded.labels


def halves(labels: Tensor, per_class: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the first `per_class` images of each class, and the indices of all other images."""
    first = torch.cat([(labels == index).nonzero()[:per_class, 0] for index in labels.unique()])
    others = torch.ones(len(labels), dtype=torch.bool)
    others[first] = False
    return first, others.nonzero()[:, 0]


def report(name: str, images: Images, reference: Images, training: Images) -> None:
    """Print the figures of images that are compared with a reference, as one row of the table."""
    as_asked = (images.named == images.labels).double().mean()
    distance = frechet_estimate(images.vectors, reference.vectors)
    precision, recall = precision_recall_estimates(images.vectors, reference.vectors[: len(images.vectors)])
    new = novelty(images.combinations, training.combinations)
    cells = [
        f"{as_asked:.1%}",
        f"{distance.value:.2f} ± {distance.standard_error:.2f}",
        *(f"{e.value:.2f} ± {e.standard_error:.2f}" for e in (precision, recall)),
        f"{new.share:.1%} ± {new.standard_error:.1%}",
    ]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def report_classes(
    class_names: tuple[str, ...], samples: Images, test: Images, reference: Images, training: Images
) -> None:
    """Print the distance and the novelty of each class, with those of test images in brackets."""
    print("\n| class | class accuracy | distance | novelty |\n|---|---|---|---|")
    for index, name in enumerate(class_names):
        ours, theirs, real, seen = (
            each.rows((each.labels == index).nonzero()[:, 0]) for each in (samples, test, reference, training)
        )
        shares = [(each.named == each.labels).double().mean() for each in (ours, theirs)]
        distances = [frechet_distance(each.vectors, real.vectors) for each in (ours, theirs)]
        new = [novelty(each.combinations, seen.combinations).share for each in (ours, theirs)]
        print(
            f"| {name} | {shares[0]:.0%} ({shares[1]:.0%}) | {distances[0]:.2f} ({distances[1]:.2f})"
            f" | {new[0]:.0%} ({new[1]:.0%}) |"
        )


def main() -> None:
    train_zip, test_zip, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 1000
    checkpoint = load_checkpoint(BUNDLED, best_device())
    description = checkpoint.description
    names = description.class_names
    reader = Reader(names)
    request = Request(num_images=count)
    specs = [spec._replace(class_index=i % len(names)) for i, spec in enumerate(image_specs(request, description))]
    drawn = draw_samples(checkpoint, BUNDLED.name, request, specs, work, lambda images: None).images
    samples = reader.read(drawn, torch.tensor([spec.class_index for spec in specs]))
    parts = [load_split(test_zip, held_out) for held_out in (False, True)]
    test = reader.read(torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts]))
    first, others = halves(test.labels, count // len(names))
    yardstick, reference = test.rows(first), test.rows(others)
    reference = reference.rows(torch.randperm(len(others), generator=torch.Generator().manual_seed(0)))
    training = reader.read(*load_split(train_zip, held_out=False))
    counts = f"{len(first)} test images, {len(others)} reference and {len(training.labels)} training images"
    print(f"{count} samples, {counts}\n")
    print("| | class accuracy | distance | precision | recall | novelty |\n|---|---|---|---|---|---|")
    report("samples", samples, reference, training)
    report("other test images", yardstick, reference, training)
    report_classes(names, samples, yardstick, reference, training)
    ours, theirs = (nearest(each.pixels, training.pixels).distance for each in (samples, yardstick))
    near = closeness(ours, theirs)
    nearer, much_nearer = (f"{e.value:.0%} ± {e.standard_error:.0%}" for e in (near.nearer, near.much_nearer))
    print(
        f"\nNearest training image, in pixels: {nearer} of the samples are nearer than the median of the test images"
        f" (50 % without copies), {much_nearer} nearer than their 5 % quantile; ratio of the medians"
        f" {near.ratio.value:.2f} ± {near.ratio.standard_error:.2f}."
    )


if __name__ == "__main__":
    main()
