"""Frechet distance of the bundled model by sampler and number of steps, compared with 1000-step ancestral sampling.

    python -m benchmarks.quality_against_steps DATA WORK [IMAGES]

Samples what is missing in WORK (an hour for 500 images on two CPU cores; an interrupted call resumes), then prints a
Markdown table. The last column is the difference from the distance of 1000 ancestral steps, over the seeds and classes
that both rows have. Its standard error is from a paired bootstrap, so random effects shared by both rows cancel out.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from benchmarks.measuring import BUNDLED
from diffusion_demo import data
from diffusion_demo.evaluation.class_matching import specs_in_data_proportions
from diffusion_demo.evaluation.feature_classifier import extract_features, load_feature_classifier
from diffusion_demo.evaluation.frechet import RESAMPLES, frechet_distance, frechet_estimate
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.runtime.device import best_device
from diffusion_demo.sampling.image_writer import sample_to_folder
from diffusion_demo.sampling.request import Request

STEPS, BASELINE = (5, 8, 10, 12, 20, 50), ("ddpm", 0.0, 1000)
SAMPLERS = (
    ("dpm_solver", 0.0),
    ("dpm_solver", 0.5),
    ("dpm_solver", 1.0),
    ("ddim", 0.0),
    ("ddpm", 0.0),
)  # (sampler, eta)


def sample_row(sampler: str, eta: float, steps: int, images: int, report: data.Report, work: Path) -> Path:
    """Sample the missing images of a row and return their folder."""
    checkpoint = load_checkpoint(BUNDLED, best_device())
    request = Request(num_images=images, sampler=sampler, steps=steps, eta=eta)
    words = f"{sampler}-eta{eta:g}-{steps}" if eta else f"{sampler}-{steps}"
    folder = work / words / "samples"
    with tqdm(total=images, desc=words, unit="image") as bar:
        sample_to_folder(
            checkpoint,
            BUNDLED.name,
            request,
            specs_in_data_proportions(report.classes, checkpoint.description, request),
            folder,
            bar.update,
        )
    return folder


def pixels_in(folder: Path) -> Tensor:
    """Return the images of the folder in the order of their seeds, uint8 [N, 3, H, W]."""
    return torch.from_numpy(
        np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("seed_*.png"))])
    ).permute(0, 3, 1, 2)


def excess(row: Tensor, baseline: Tensor, reference: Tensor) -> tuple[float, float]:
    """Return how much larger the distance of a row is than that of the baseline, and the standard error.

    Row i of both feature matrices [N, D] has the same seed.
    """
    count, generator = min(len(row), len(baseline)), torch.Generator().manual_seed(0)

    def difference(ours: Tensor, theirs: Tensor) -> float:
        return frechet_distance(row[ours], reference[theirs]) - frechet_distance(baseline[ours], reference[theirs])

    def resample(size: int) -> Tensor:
        return torch.randint(size, (size,), generator=generator)

    resampled = torch.tensor([difference(resample(count), resample(len(reference))) for _ in range(RESAMPLES)])
    return difference(torch.arange(count), torch.arange(len(reference))), float(resampled.std())


def main() -> None:
    source, work = sys.argv[1], Path(sys.argv[2])
    images = int(sys.argv[3]) if len(sys.argv) > 3 else 512
    report = data.scan(source)
    classifier = load_feature_classifier(best_device())
    images_by_part = [data.load(report, 32, 3, held_out=part).images for part in (False, True)]
    reference = extract_features(torch.cat(images_by_part), classifier)
    rows = [BASELINE, *((*sampler, steps) for steps in STEPS for sampler in SAMPLERS)]
    features = {row: extract_features(pixels_in(sample_row(*row, images, report, work)), classifier) for row in rows}
    print("| steps | sampler | eta | images | distance | 95 % | difference from 1000 ancestral steps |")
    print("|---|---|---|---|---|---|---|")
    for (sampler, eta, steps), row_features in features.items():
        estimate = frechet_estimate(row_features, reference)
        more, error = excess(row_features, features[BASELINE], reference)
        difference = "" if (sampler, eta, steps) == BASELINE else f"{more:+.2f} ± {error:.2f}"
        low, high = estimate.interval
        print(
            f"| {steps} | {sampler} | {eta:g} | {len(row_features)} | {estimate.value:.2f}"
            f" | {low:.2f} to {high:.2f} | {difference} |"
        )


if __name__ == "__main__":
    main()
