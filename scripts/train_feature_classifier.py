"""Make the judge, a classifier of clean emoji: `python -m scripts.train_feature_classifier noto-emoji.zip`.

It never meets a diffusion model. Its features are what Frechet distances are measured in, its answers what guidance is measured by.
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
EPOCHS, BATCH_SIZE, SHIFT = 60, 64, 3
CARD = """---
license: apache-2.0
tags:
- image-classification
---

# The judge: a classifier of clean 32x32 emoji

It names one of nine groups, and the features before its last layer are what this project measures Frechet distances in.
It is no part of any diffusion model here, and none was trained against it.

- Network: the downward half of a small U-Net, {parameters:.2f} million parameters, {features} features
- Trained on {train} images of `{source}` for {epochs} epochs; of the {held_out} held-out ones it names {accuracy:.0%} rightly
- Command: `python -m scripts.train_feature_classifier {source}`

Trained on [Noto Emoji](https://github.com/googlefonts/noto-emoji), Google LLC, image resources under the Apache License 2.0.
"""


def augmented(images: Tensor) -> Tensor:
    """Each image mirrored or not, moved by up to SHIFT pixels on white, a little brighter or darker."""
    mirrored = torch.rand(len(images)) < 0.5
    images = torch.where(mirrored.reshape(-1, 1, 1, 1), images.flip(3), images)
    side = images.shape[-1]
    padded = nn.functional.pad(images, (SHIFT,) * 4, value=1.0)
    corners = torch.randint(0, 2 * SHIFT + 1, (len(images), 2)).tolist()
    moved = torch.stack([image[:, y : y + side, x : x + side] for image, (y, x) in zip(padded, corners, strict=True)])
    return ((moved + 1) * (0.85 + 0.3 * torch.rand(len(images), 3, 1, 1)) - 1).clamp(-1, 1)


def clean(images: Tensor) -> Tensor:
    """t for images without noise: int64 [N]."""
    return torch.zeros(len(images), dtype=torch.int64)


def train(source: str) -> None:
    torch.manual_seed(0)
    report = data.scan(source)
    dataset, held_out = (data.load(report, 32, 3, held_out=part) for part in (False, True))
    trunk = dict(build_unet("tiny", 32, 3, learns_variance=False, num_classes=0, dropout=0.2).config)
    trunk = {name: value for name, value in trunk.items() if not name.startswith("_")}
    judge = Classifier(trunk=trunk, class_names=list(report.class_names)).to(memory_format=torch.channels_last)
    steps = EPOCHS * (len(dataset) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
    for epoch in range(EPOCHS):
        judge.train()
        for batch in torch.randperm(len(dataset)).split(BATCH_SIZE)[: len(dataset) // BATCH_SIZE]:
            images = augmented(to_float(dataset.images[batch]))
            loss = nn.functional.cross_entropy(judge(images, clean(images)), dataset.labels[batch], label_smoothing=0.1)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        judge.eval()
        with torch.no_grad():
            images = to_float(held_out.images)
            accuracy = (judge(images, clean(images)).argmax(1) == held_out.labels).float().mean().item()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, held-out accuracy {accuracy:.3f}", flush=True)
    shutil.rmtree(TARGET, ignore_errors=True)
    judge.save_pretrained(TARGET)
    summary = report.summary()
    card = CARD.format(
        parameters=sum(p.numel() for p in judge.parameters()) / 1e6,
        features=judge.head.in_features,
        train=len(dataset),
        held_out=len(held_out),
        accuracy=accuracy,
        epochs=EPOCHS,
        source=summary["source"],
    )
    (TARGET / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    train(sys.argv[1])
