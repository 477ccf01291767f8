"""Train the feature classifier on clean emoji: `python -m scripts.train_feature_classifier noto-emoji.zip`.

Fréchet distances are computed on its features, and its predictions measure guidance. No diffusion model is trained
against it.
"""

import shutil
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from diffusion_demo import data
from diffusion_demo.images import to_float
from diffusion_demo.models.classifier import Classifier
from diffusion_demo.models.unet import build_unet

TARGET = Path(__file__).resolve().parents[1] / "checkpoints" / "judge-32"
EPOCHS, BATCH_SIZE = 60, 64
MAX_SHIFT = 3  # pixels
CARD = """---
license: apache-2.0
tags:
- image-classification
---

# Feature classifier: clean 32x32 emoji in nine groups

The Fréchet distances of this project are computed on the features before its last layer. It is not part of any
diffusion model, and no diffusion model was trained against it.

- Network: the downward half of a small U-Net, {parameters:.2f} million parameters, {features} features
- Trained on {train} images of `{source}` for {epochs} epochs; accuracy on {held_out} held-out images: {accuracy:.0%}
- Command: `python -m scripts.train_feature_classifier {source}`

Trained on [Noto Emoji](https://github.com/googlefonts/noto-emoji), Google LLC, image resources under the Apache License
2.0.
"""


def augment(images: Tensor) -> Tensor:
    """Return randomly augmented images, float [N, 3, S, S] in [-1, 1], on a white background.

    Each image is flipped with probability 1/2, shifted by up to MAX_SHIFT pixels, and each of its channels scaled.
    """
    flipped = torch.rand(len(images)) < 0.5
    images = torch.where(flipped.reshape(-1, 1, 1, 1), images.flip(3), images)
    side = images.shape[-1]
    padded = nn.functional.pad(images, (MAX_SHIFT,) * 4, value=1.0)
    corners = torch.randint(0, 2 * MAX_SHIFT + 1, (len(images), 2)).tolist()
    shifted = torch.stack([image[:, y : y + side, x : x + side] for image, (y, x) in zip(padded, corners, strict=True)])
    return ((shifted + 1) * (0.85 + 0.3 * torch.rand(len(images), 3, 1, 1)) - 1).clamp(-1, 1)


def classify_clean(classifier: Classifier, images: Tensor) -> Tensor:
    """Return the logits, float [N, classes], of images without noise, at t = 0."""
    return classifier(images, torch.zeros(len(images), dtype=torch.int64))


def train(source: str) -> None:
    """Train on the data set `source` and replace the bundled feature classifier."""
    torch.manual_seed(0)
    report = data.scan(source)
    dataset, held_out = (data.load(report, 32, 3, held_out=part) for part in (False, True))
    config = build_unet("tiny", 32, 3, learns_variance=False, num_classes=0, dropout=0.2).config.items()
    trunk = {name: value for name, value in config if not name.startswith("_")}
    classifier = Classifier(trunk=trunk, class_names=list(report.class_names))
    # diffusers wraps `to` without annotations, which hides its parameters from pyright
    classifier.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    steps = EPOCHS * (len(dataset) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
    accuracy = 0.0
    for epoch in range(EPOCHS):
        loss = train_epoch(classifier, dataset, optimizer, schedule)
        accuracy = measure_accuracy(classifier, held_out)
        print(f"epoch {epoch + 1}: loss {loss:.3f}, held-out accuracy {accuracy:.3f}", flush=True)
    shutil.rmtree(TARGET, ignore_errors=True)
    classifier.save_pretrained(TARGET)
    card = CARD.format(
        parameters=sum(p.numel() for p in classifier.parameters()) / 1e6,
        features=classifier.head.in_features,
        train=len(dataset),
        held_out=len(held_out),
        accuracy=accuracy,
        epochs=EPOCHS,
        source=report.summary()["source"],
    )
    (TARGET / "README.md").write_text(card, encoding="utf-8")


def train_epoch(
    classifier: Classifier,
    dataset: data.ImageTensors,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    """Train for one epoch without the last, incomplete batch. Return the loss of the last batch."""
    classifier.train()
    loss = torch.zeros(())
    for batch in torch.randperm(len(dataset)).split(BATCH_SIZE)[: len(dataset) // BATCH_SIZE]:
        logits = classify_clean(classifier, augment(to_float(dataset.images[batch])))
        loss = nn.functional.cross_entropy(logits, dataset.labels[batch], label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return loss.item()


@torch.no_grad()
def measure_accuracy(classifier: Classifier, dataset: data.ImageTensors) -> float:
    """Return the share of correctly classified images."""
    classifier.eval()
    predictions = classify_clean(classifier, to_float(dataset.images)).argmax(1)
    return (predictions == dataset.labels).float().mean().item()


if __name__ == "__main__":
    train(sys.argv[1])
