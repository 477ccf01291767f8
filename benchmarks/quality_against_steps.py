"""Frechet distance of the bundled model's samples against the number of steps, for every sampler, with 1000-step ancestral sampling as the measure.

    python -m benchmarks.quality_against_steps DATA WORK [IMAGES]

Samples what is missing in WORK (hours on a CPU; a call that was cut short goes on), then prints a Markdown table. A row's last column is how far it
is from the 1000 steps, over as many images of the same seeds and classes as both have; its standard error is of the difference itself,
resampled in pairs, so the luck that both share does not count.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from diffusion_demo import data
from diffusion_demo.evaluation.class_matching import specs_like_data
from diffusion_demo.evaluation.feature_classifier import extract_features, load_feature_classifier
from diffusion_demo.evaluation.frechet import RESAMPLES, frechet_distance, frechet_estimate
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.runtime.device import best_device
from diffusion_demo.sampling.image_writer import sample_to_folder
from diffusion_demo.sampling.request import Request

CHECKPOINT = Path(__file__).resolve().parents[1] / "checkpoints" / "emoji-32"
STEPS, BASELINE = (5, 8, 10, 12, 20, 50), ("ddpm", 0.0, 1000)
SAMPLERS = (
    ("dpm_solver", 0.0),
    ("dpm_solver", 0.5),
    ("dpm_solver", 1.0),
    ("ddim", 0.0),
    ("ddpm", 0.0),
)  # with the eta of each


def sampled(sampler: str, eta: float, steps: int, images: int, found: data.Report, work: Path) -> Path:
    """The folder of that row's images, filled where it is not full."""
    checkpoint = load_checkpoint(CHECKPOINT, best_device())
    request = Request(num_images=images, sampler=sampler, steps=steps, eta=eta)
    words = f"{sampler}-eta{eta:g}-{steps}" if eta else f"{sampler}-{steps}"
    folder = work / words / "samples"
    with tqdm(total=images, desc=words, unit="image") as bar:
        sample_to_folder(
            checkpoint,
            CHECKPOINT.name,
            request,
            specs_like_data(found, checkpoint.description, request),
            folder,
            bar.update,
        )
    return folder


def pixels_in(folder: Path) -> Tensor:
    """The folder's images in the order of their seeds: uint8 [N, 3, H, W]."""
    return torch.from_numpy(
        np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("seed_*.png"))])
    ).permute(0, 3, 1, 2)


def excess(row: Tensor, baseline: Tensor, reference: Tensor) -> tuple[float, float]:
    """How much farther from the reference a row's features are than the baseline's, image by image of the same seeds, and its standard error."""
    count, generator = min(len(row), len(baseline)), torch.Generator().manual_seed(0)

    def difference(ours: Tensor, theirs: Tensor) -> float:
        return frechet_distance(row[ours], reference[theirs]) - frechet_distance(baseline[ours], reference[theirs])

    def again(size: int) -> Tensor:
        return torch.randint(size, (size,), generator=generator)

    resampled = torch.tensor([difference(again(count), again(len(reference))) for _ in range(RESAMPLES)])
    return difference(torch.arange(count), torch.arange(len(reference))), float(resampled.std())


def main() -> None:
    source, work = sys.argv[1], Path(sys.argv[2])
    images = int(sys.argv[3]) if len(sys.argv) > 3 else 512
    found = data.scan(source)
    judge = load_feature_classifier(best_device())
    specs = [data.load(found, 32, 3, held_out=part).images for part in (False, True)]
    reference = extract_features(torch.cat(specs), judge)
    rows = [BASELINE, *((*sampler, steps) for steps in STEPS for sampler in SAMPLERS)]
    features = {row: extract_features(pixels_in(sampled(*row, images, found, work)), judge) for row in rows}
    print(
        "| steps | sampler | eta | images | distance | 95 % | farther than 1000 ancestral steps |\n|---|---|---|---|---|---|---|"
    )
    for (sampler, eta, steps), found_features in features.items():
        estimate = frechet_estimate(found_features, reference)
        more, error = excess(found_features, features[BASELINE], reference)
        farther = "" if (sampler, eta, steps) == BASELINE else f"{more:+.2f} ± {error:.2f}"
        low, high = estimate.interval
        print(
            f"| {steps} | {sampler} | {eta:g} | {len(found_features)} | {estimate.value:.2f} | {low:.2f} to {high:.2f} | {farther} |"
        )


if __name__ == "__main__":
    main()
