"""Train the feature classifier on avatars: `python -m scripts.train_feature_classifier --test avatars-32-test.zip`.

It learns the class of an avatar and the attributes that the generator chose, in images whose background is a random
color, so that no class can be told by its background. Distances are computed on its features, its classes measure
guidance, and its attributes measure novelty. No diffusion model is trained against it.
"""

import argparse
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from diffusion_demo.evaluation.attributes import ABSENT, AttributeHeads
from diffusion_demo.evaluation.feature_classifier import FEATURE_CLASSIFIER
from diffusion_demo.images import to_float
from diffusion_demo.models.classifier import Classifier, trunk_config
from diffusion_demo.models.unet import build_unet
from scripts.avatars import FIRST_SEED, STYLES, AvatarSpec, draw_cutout

SIDE, BATCH_SIZE, MAX_SHIFT = 32, 128, 1
PEAK_LEARNING_RATE, WEIGHT_DECAY = 3e-3, 0.02
UNSEEN = ("animationVariant", "star")  # not in a still image of this size: animations, and stars of one pixel
CARD = """---
license: apache-2.0
tags:
- image-classification
---

# Feature classifier: 32x32 avatars in ten classes, with their attributes

The Fréchet distances of this project are computed on the {features} features before its last layer. It is not part of
any diffusion model, and no diffusion model was trained against it.

- Network: the downward half of a small U-Net, {parameters:.2f} million parameters, and one linear classifier for each
  attribute
- Trained on {train:,} avatars drawn on backgrounds of random colors, {seen:,} images seen
- Accuracy on {test:,} test images of other seeds, on their own backgrounds: class {accuracy:.1%}
- Command: `python -m scripts.train_feature_classifier {command}`

Trained on avatars drawn by [DiceBear](https://www.dicebear.com), all ten styles CC0 1.0.

## Accuracy for each attribute

The share of test images whose value is predicted correctly; in brackets the number of values. "Absent" is a value, too.

| class | attributes |
|---|---|
{table}
"""


@dataclass(frozen=True, eq=False)
class Avatars:
    """Images uint8 [N, 3 or 4, S, S], classes int64 [N], and the attributes of each image."""

    images: Tensor
    labels: Tensor
    attributes: list[dict[str, str]]


def _draw(spec: AvatarSpec) -> tuple[np.ndarray, dict[str, str]]:
    cutout, attributes = draw_cutout(spec)
    return np.asarray(cutout), attributes


def draw_cutouts(images_per_class: int, cache: Path) -> Avatars:
    """Return avatars of training seeds without background. What is drawn is kept in the folder `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    images, attributes = [], []
    for class_name in STYLES:
        path = cache / f"{class_name}-{images_per_class}.npz"
        if not path.exists():
            first = FIRST_SEED["train"]
            specs = [AvatarSpec(class_name, seed, SIDE) for seed in range(first, first + images_per_class)]
            with Pool(os.cpu_count()) as pool:
                drawn, chosen = zip(*pool.imap(_draw, specs, chunksize=32), strict=True)
            np.savez_compressed(path, images=np.stack(drawn), attributes=json.dumps(chosen))
        with np.load(path) as stored:
            images.append(stored["images"])
            attributes += json.loads(str(stored["attributes"]))
    pixels = torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2).contiguous()
    return Avatars(pixels, torch.arange(len(STYLES)).repeat_interleave(images_per_class), attributes)


def read_zip(path: Path) -> Avatars:
    """Return the avatars of a ZIP file that scripts.avatars wrote."""
    with zipfile.ZipFile(path) as archive:
        rows = [json.loads(line) for line in archive.read("metadata.jsonl").decode().splitlines()]
        images = [np.asarray(Image.open(archive.open(row["file_name"]))) for row in rows]
    names = list(STYLES)
    labels = torch.tensor([names.index(row["class"]) for row in rows])
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return Avatars(pixels, labels, [row["attributes"] for row in rows])


def build_vocabulary(avatars: Avatars) -> dict[str, dict[str, list[str]]]:
    """Return the values of each attribute that varies, by class name and attribute."""
    vocabulary = {}
    for index, class_name in enumerate(STYLES):
        rows = [avatars.attributes[row] for row in (avatars.labels == index).nonzero()[:, 0].tolist()]
        names = sorted({name for row in rows for name in row if not name.startswith(UNSEEN)})
        values = {name: sorted({row.get(name, ABSENT) for row in rows}) for name in names}
        vocabulary[class_name] = {name: found for name, found in values.items() if len(found) > 1}
    return vocabulary


def encode(avatars: Avatars, vocabulary: dict[str, dict[str, list[str]]]) -> Tensor:
    """Return the value index of each attribute, int64 [N, A], filled with -1; -1 also for a value not in vocabulary."""
    width = max(len(attributes) for attributes in vocabulary.values())
    targets = torch.full((len(avatars.labels), width), -1)
    for row, (label, chosen) in enumerate(zip(avatars.labels.tolist(), avatars.attributes, strict=True)):
        for column, (name, values) in enumerate(vocabulary[list(STYLES)[label]].items()):
            value = chosen.get(name, ABSENT)
            targets[row, column] = values.index(value) if value in values else -1
    return targets


def composite(cutouts: Tensor) -> Tensor:
    """Return float images [N, 3, S, S] in [-1, 1] of uint8 cutouts [N, 4, S, S] on random colors, shifted at random."""
    colors, alpha = torch.rand(len(cutouts), 3, 1, 1), cutouts[:, 3:].float() / 255
    images = (alpha * cutouts[:, :3].float() / 255 + (1 - alpha) * colors) * 2 - 1
    padded = nn.functional.pad(images, (MAX_SHIFT,) * 4, mode="replicate")
    y, x = torch.randint(0, 2 * MAX_SHIFT + 1, (2,)).tolist()
    return padded[:, :, y : y + SIDE, x : x + SIDE].contiguous()


def features_of(classifier: Classifier, images: Tensor) -> Tensor:
    """Return the features, float [N, D], of images without noise, at t = 0."""
    return classifier.features(images, torch.zeros(len(images), dtype=torch.int64))


def attribute_loss(heads: AttributeHeads, vectors: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of the attributes, averaged over those of a class and then over the batch."""
    total = vectors.new_zeros(())
    for index in labels.unique().tolist():
        rows = (labels == index).nonzero()[:, 0]
        groups = heads.logits(vectors[rows], index)
        losses = [
            nn.functional.cross_entropy(group, targets[rows, column], ignore_index=-1, reduction="sum")
            for column, group in enumerate(groups)
        ]
        total = total + torch.stack(losses).sum() / len(groups)
    return total / len(labels)


def train(
    avatars: Avatars, vocabulary: dict[str, dict[str, list[str]]], epochs: int
) -> tuple[Classifier, AttributeHeads]:
    """Return the classifier and its attribute heads, trained on cutouts."""
    torch.manual_seed(0)
    unet = build_unet("tiny", SIDE, 3, learns_variance=False, num_classes=0, dropout=0.0)
    classifier = Classifier(trunk=trunk_config(unet), class_names=list(STYLES))
    assert isinstance(classifier.head, nn.Linear)
    heads = AttributeHeads(vocabulary, classifier.head.in_features)
    # diffusers wraps `to` without annotations, which hides its parameters from pyright
    classifier.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    parameters = [*classifier.parameters(), *heads.parameters()]
    steps = epochs * (len(avatars.labels) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(parameters, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK_LEARNING_RATE, total_steps=steps)
    targets = encode(avatars, vocabulary)
    for step, batch in enumerate(_batches(len(avatars.labels), epochs)):
        labels = avatars.labels[batch]
        with torch.autocast("cpu", torch.bfloat16):
            vectors = features_of(classifier, composite(avatars.images[batch]))
        vectors = vectors.float()
        class_loss = nn.functional.cross_entropy(classifier.head(vectors), labels)
        loss = class_loss + attribute_loss(heads, vectors, labels, targets[batch])
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step} of {steps}: class loss {class_loss.item():.3f}, total {loss.item():.3f}", flush=True)
    return classifier.eval(), heads.eval()


def _batches(count: int, epochs: int) -> Iterator[Tensor]:
    for _ in range(epochs):
        yield from torch.randperm(count).split(BATCH_SIZE)[: count // BATCH_SIZE]


@torch.no_grad()
def measure(classifier: Classifier, heads: AttributeHeads, test: Avatars) -> tuple[float, list[str]]:
    """Return the share of right classes, and a table row for each class with the accuracy of its attributes."""
    vectors = torch.cat([features_of(classifier, to_float(part)) for part in test.images.split(BATCH_SIZE)])
    right = (classifier.head(vectors).argmax(1) == test.labels).float().mean().item()
    targets, rows = encode(test, {name: dict(values) for name, values in heads.vocabulary.items()}), []  # type: ignore
    for index, (class_name, attributes) in enumerate(heads.vocabulary.items()):
        members = (test.labels == index).nonzero()[:, 0]
        shares = [
            (group.argmax(1) == targets[members, column]).float().mean().item()
            for column, group in enumerate(heads.logits(vectors[members], index))
        ]
        cells = [
            f"{name} {share:.0%} ({len(attributes[name])})" for name, share in zip(attributes, shares, strict=True)
        ]
        rows.append(f"| {class_name} | {', '.join(cells)} |")
    return right, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--test", type=Path, required=True, metavar="ZIP", help="test images from scripts.avatars")
    parser.add_argument("--images", type=int, default=4000, metavar="N", help="per class to train on (default: 4000)")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="passes over them (default: 10)")
    parser.add_argument(
        "--cache", type=Path, default=Path("scratch/cutouts"), metavar="DIR", help="where the drawn avatars are kept"
    )
    arguments = parser.parse_args()
    avatars, test = draw_cutouts(arguments.images, arguments.cache), read_zip(arguments.test)
    classifier, heads = train(avatars, build_vocabulary(avatars), arguments.epochs)
    accuracy, table = measure(classifier, heads, test)
    shutil.rmtree(FEATURE_CLASSIFIER, ignore_errors=True)
    classifier.half().save_pretrained(FEATURE_CLASSIFIER)
    heads.save(FEATURE_CLASSIFIER)
    assert isinstance(classifier.head, nn.Linear)
    card = CARD.format(
        parameters=sum(p.numel() for p in classifier.parameters()) / 1e6,
        features=classifier.head.in_features,
        train=len(avatars.labels),
        seen=arguments.epochs * (len(avatars.labels) // BATCH_SIZE) * BATCH_SIZE,
        test=len(test.labels),
        accuracy=accuracy,
        command=f"--test {arguments.test.name} --images {arguments.images} --epochs {arguments.epochs}",
        table="\n".join(table),
    )
    (FEATURE_CLASSIFIER / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
