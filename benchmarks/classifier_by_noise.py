"""Accuracy of the noisy classifier on held-out images by timestep.

    python -m benchmarks.classifier_by_noise DATA [CLASSIFIER] [PLOT.png]

Uses several noise draws of every held-out image at each t. The standard error is over images, not draws, because the
draws of one image are not independent.
"""

import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from benchmarks.measuring import BUNDLED
from diffusion_demo import data
from diffusion_demo.images import save_png, to_float
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint, with_classifier
from diffusion_demo.runtime.device import best_device

AT = (0, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 999)
DRAWS = 4
WIDTH, HEIGHT, MARGIN = 640, 260, 44


@torch.no_grad()
def accuracies(checkpoint: Checkpoint, source: str) -> list[tuple[int, float, float]]:
    """Return (t, accuracy, standard error) at each t of AT."""
    held_out = data.load(
        data.scan(source), checkpoint.description.image_size, checkpoint.description.channels, held_out=True
    )
    classifier, generator, points = checkpoint.classifier, torch.Generator().manual_seed(0), []
    assert classifier is not None, "the bundled model has a classifier"
    x0 = to_float(held_out.images)
    for t in AT:
        right = []
        for _ in range(DRAWS):
            xt = checkpoint.diffusion.q_sample(x0, t, torch.randn(x0.shape, generator=generator))
            parts = xt.to(classifier.device).split(64)
            logits = torch.cat(
                [classifier(part, checkpoint.diffusion.model_timesteps(t, part)).cpu() for part in parts]
            )
            right.append((logits.argmax(1) == held_out.labels).double())
        share = torch.stack(right).mean(0)
        points.append((t, float(share.mean()), float(share.std() / len(share) ** 0.5)))
    return points


def plot(points: list[tuple[int, float, float]], chance: float) -> Image.Image:
    """Plot accuracy over t with error bars of one standard error, and the accuracy of guessing."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)

    def place(t: float, share: float) -> tuple[float, float]:
        return MARGIN + t / AT[-1] * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)

    for share in (0, 0.25, 0.5, 0.75, 1):
        draw.line([place(0, share), place(AT[-1], share)], fill="#cbd5e1")
        draw.text((place(0, share)[0] - 8, place(0, share)[1]), f"{share:.0%}", fill="#334155", anchor="rm")
    for t in (0, 250, 500, 750, 999):
        draw.text((place(t, 0)[0], place(t, 0)[1] + 8), str(t), fill="#334155", anchor="mt")
    draw.line([place(0, chance), place(AT[-1], chance)], fill="#c2410c")
    draw.line([place(t, share) for t, share, _ in points], fill="#4338ca", width=3)
    for t, share, error in points:
        draw.line([place(t, share - error), place(t, share + error)], fill="#4338ca")
    draw.text((WIDTH / 2, HEIGHT - 14), "t: from no noise to pure noise", fill="#334155", anchor="mm")
    draw.text(
        (MARGIN, 16),
        "accuracy on held-out images; orange: always the most frequent class",
        fill="#334155",
        anchor="lm",
    )
    return image


def main() -> None:
    checkpoint = load_checkpoint(BUNDLED, best_device())
    if len(sys.argv) > 2:
        checkpoint = with_classifier(checkpoint, sys.argv[2])
    points = accuracies(checkpoint, sys.argv[1])
    labels = data.load(data.scan(sys.argv[1]), 16, 3, held_out=True).labels
    chance = float(labels.bincount().max() / len(labels))
    print("| t | accuracy |\n|---|---|")
    for t, share, error in points:
        print(f"| {t} | {share:.1%} ± {error:.1%} |")
    print(f"always the most frequent class: {chance:.1%}")
    if len(sys.argv) > 3:
        save_png(Path(sys.argv[3]), plot(points, chance))


if __name__ == "__main__":
    main()
