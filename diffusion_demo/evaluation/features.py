"""Pictures -> the features that distances between sets of pictures are measured in."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from diffusion_demo.images import to_float
from diffusion_demo.models.classifier import Classifier, load_classifier

JUDGE = Path(__file__).resolve().parents[2] / "checkpoints" / "judge-32"
BATCH_SIZE = 64


@torch.no_grad()
def features_of(pixels: Tensor, judge: Classifier) -> Tensor:
    """The judge's features, float32 [N, D] on the CPU, of uint8 pictures [N, C, H, W]; greyscale and other sizes are brought to its own."""
    side, found = judge.config.trunk["sample_size"], []
    for batch in pixels.split(BATCH_SIZE):
        images = to_float(batch).to(judge.device).expand(-1, 3, -1, -1)
        if images.shape[-1] != side:
            images = functional.interpolate(images, (side, side), mode="bilinear", antialias=True)
        found.append(judge.features(images, torch.zeros(len(images), dtype=torch.int64, device=judge.device)).cpu())
    return torch.cat(found)


def load_judge(device: torch.device | str = "cpu") -> Classifier:
    """The project's own small classifier of clean pictures, checkpoints/judge-32."""
    return load_classifier(JUDGE, device)
