"""Memorization test: distances of samples to the training images, and a contact sheet of the nearest pairs."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion_demo.evaluation.extractor import Extractor
from diffusion_demo.evaluation.nearest import Closeness, Nearest, closeness, nearest
from diffusion_demo.images import contact_sheet, save_png
from diffusion_demo.sampling.seeds import generator_for

MAX_COMPARED = 1000
SHEET_ROWS, SHEET_GROUPS = 16, 4


def measure_memorization(
    samples: tuple[Tensor, Tensor],
    dataset: tuple[Tensor, Tensor],
    num_training: int,
    extractor: Extractor,
    seed: int,
    sheet: Path | None,
) -> dict[str, Any]:
    """Return how near samples are to training images, compared with images not used for training, as a JSON report.

    Distances are in pixels (root mean square, 0 to 255) and in features. samples, dataset: images uint8 [N, C, S, S]
    and vectors [N, D]. The first num_training images of the dataset were used for training, the others were held out;
    without held-out images, the training images are compared with each other. Training images also count mirrored,
    because training flips images at random. sheet: the PNG to write with the 64 nearest pairs.
    """
    images, vectors = dataset
    mirrored = images[:num_training].flip(3)
    has_held_out = len(images) > num_training
    others = torch.arange(num_training, len(images)) if has_held_out else torch.arange(num_training)
    others = others[torch.randperm(len(others), generator=generator_for(seed))[:MAX_COMPARED]]
    views = {
        "pixels": (_flatten(samples[0]), _flatten(images), _flatten(mirrored)),
        "features": (samples[1], vectors, extractor(mirrored).vectors),
    }
    neighbors, report = {}, {}
    for name, (queries, everything, mirror) in views.items():
        rows, ids = torch.cat([everything[:num_training], mirror]), torch.arange(num_training).repeat(2)
        neighbors[name], baseline = nearest(queries, rows), nearest(everything[others], rows, (others, ids))
        scale = queries.shape[1] ** -0.5 if name == "pixels" else 1.0
        report[f"in_{name}"] = _report(closeness(neighbors[name].distance * scale, baseline.distance * scale, seed))
    if sheet:
        _write_sheet(samples[0], torch.cat([images[:num_training], mirrored]), neighbors, sheet)
    kind = "held-out images" if has_held_out else "other training images"
    return report | {
        "training": num_training,
        "compared_with": f"{len(others)} {kind}",
        "sheet": str(sheet) if sheet else None,
    }


def _flatten(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1).flatten(1)


def _report(distances: Closeness) -> dict[str, Any]:
    estimates = {"nearer": distances.nearer, "much_nearer": distances.much_nearer, "ratio": distances.ratio}
    parts = {name: {"value": estimate.value} | estimate.spread() for name, estimate in estimates.items()}
    return parts | {"median_distance": distances.median, "typical_distance": distances.typical}


def _write_sheet(samples: Tensor, rows: Tensor, neighbors: dict[str, Nearest], sheet: Path) -> None:
    """Write a sheet of sample | nearest in pixels | nearest in features, ordered by the distance in pixels."""
    order = neighbors["pixels"].distance.argsort()[: SHEET_ROWS * SHEET_GROUPS]
    columns = [samples[order], *(rows[neighbors[name].row[order]] for name in ("pixels", "features"))]
    columns = [images.expand(-1, 3, -1, -1) for images in columns]
    groups = torch.stack([*columns, torch.full_like(columns[0], 255)], dim=1)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    save_png(sheet, contact_sheet(groups.flatten(0, 1), columns=groups.shape[1] * min(SHEET_GROUPS, len(order))))
