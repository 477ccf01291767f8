"""L_hybrid with learned variances compared with L_simple with fixed ones, by sampling steps. Improved DDPM Figure 8.

    python -m benchmarks.hybrid_against_simple FOLDER

Trains both equally long on scikit-learn's 1,797 digits at 16 x 16 (preset tiny, STEPS steps), keeps everything in
FOLDER, and prints a Markdown table: the Frechet distance in the 64 pixels of the original digits, and bits/dim of the
held-out tenth on a chain of that many steps, each with its standard error.
"""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional

from diffusion_demo import data
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.evaluation.frechet import Estimate, frechet_estimate
from diffusion_demo.evaluation.nll import measure_bound
from diffusion_demo.images import to_float
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.sampling.generate import last_step, sample
from diffusion_demo.sampling.request import Request
from diffusion_demo.training.run_folder import RunFolder

STEPS, SAMPLES, COUNTS = 2000, 512, (5, 10, 25, 50, 100)
COMMON = [
    "--preset",
    "tiny",
    "--image-size",
    "16",
    "--channels",
    "1",
    "--no-flip",
    "--precision",
    "fp32",
    "--save-every",
    str(STEPS),
]
KINDS = {"hybrid": ["--variance-type", "learned_range"], "simple": ["--variance-type", "fixed_large"]}


def write_digits(folder: Path) -> None:
    folder.mkdir(parents=True)
    for i, pixels in enumerate(load_digits().images):
        image = Image.fromarray((pixels * 255 / 16).round().astype("uint8"))
        image.resize((16, 16), Image.Resampling.BICUBIC).save(folder / f"{i:04d}.png")


def trained(folder: Path, kind: str) -> Checkpoint:
    run = RunFolder(folder / kind)
    if run.latest() is None:
        line = [
            sys.executable,
            "-m",
            "diffusion_demo",
            "train",
            "--data",
            folder / "digits",
            "--run",
            run.path,
            "--loss",
            kind,
        ]
        subprocess.run(
            [*map(str, line), *COMMON, *KINDS[kind], "--max-steps", str(STEPS), "--sample-every", str(STEPS)],
            check=True,
        )
    return load_checkpoint(run.latest())


def with_variance(checkpoint: Checkpoint, variance_type: str) -> Checkpoint:
    chain = checkpoint.diffusion
    return replace(checkpoint, diffusion=Diffusion(chain.betas, chain.prediction_type, variance_type))


def features(images: Tensor) -> Tensor:
    """Return the 64 pixels of the original digits: images [N, 1, 16, 16] in [-1, 1], average-pooled by 2."""
    return functional.avg_pool2d(images, 2).flatten(1)


def rows(
    models: dict[str, Checkpoint], dataset: data.ImageTensors, held_out: data.ImageTensors
) -> Iterator[tuple[int, dict, dict]]:
    """Yield for each number of steps the Frechet distance and the bits/dim of each model."""
    for count in COUNTS:
        distances, bits = {}, {}
        for name, model in models.items():
            samples = [
                last_step(sample(model, Request(64, "ddpm", count, seed=64 * i, precision="fp32"))).xt
                for i in range(SAMPLES // 64)
            ]
            distances[name] = frechet_estimate(features(torch.cat(samples)), features(to_float(dataset.images)))
            bound = measure_bound(model, held_out, count)
            totals = bound.prior + bound.bits.sum(1)
            bits[name] = Estimate(float(totals.mean()), float(totals.std() / len(totals) ** 0.5))
        yield count, distances, bits


def lead(ours: Estimate, others: list[Estimate]) -> str:
    """Return which side is better, and by how many standard errors of the difference."""
    best = min(others)
    errors = (best.value - ours.value) / (best.standard_error**2 + ours.standard_error**2) ** 0.5
    return f"{'hybrid' if errors > 0 else 'simple'} by {abs(errors):.1f}"


def main() -> None:
    folder = Path(sys.argv[1])
    if not (folder / "digits").exists():
        write_digits(folder / "digits")
    hybrid, simple = (trained(folder, kind) for kind in KINDS)
    models = {
        "hybrid, learned": hybrid,
        "simple, beta": with_variance(simple, "fixed_large"),
        "simple, beta~": with_variance(simple, "fixed_small"),
    }
    report = data.scan(folder / "digits")
    dataset, held_out = (data.load(report, 16, 1, held_out=part) for part in (False, True))
    distance_columns = " | ".join(f"distance: {name}" for name in models)
    bits_columns = " | ".join(f"bits/dim: {name}" for name in models)
    print(f"| steps | {distance_columns} | better | {bits_columns} | better |")
    print("|---" * (3 + 2 * len(models)) + "|")
    for count, *measures in rows(models, dataset, held_out):
        cells = [str(count)]
        for estimates in measures:
            ours, *others = estimates.values()
            cells += [f"{e.value:.3f} ± {e.standard_error:.3f}" for e in estimates.values()] + [lead(ours, others)]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
