"""Samples beside the images that a model was trained on: is it copying, and a sheet to see it on."""

from pathlib import Path

import torch
from torch import Tensor

from diffusion_demo.evaluation.extractor import Extractor
from diffusion_demo.evaluation.nearest import Closeness, Nearest, closeness, nearest
from diffusion_demo.images import contact_sheet, save_png

MOST_COMPARED = 1000
SHEET_ROWS, SHEET_GROUPS = 16, 4


def measure_memorization(
    samples: tuple[Tensor, Tensor],
    dataset: tuple[Tensor, Tensor],
    training: int,
    extractor: Extractor,
    seed: int,
    sheet: Path | None,
) -> dict:
    """How near samples are to training images, in pixels (root mean square, of 255) and in features, beside images not trained on; for JSON.

    samples and images are images uint8 [N, C, S, S] and vectors [N, D]; the first `training` images are what was trained on, the others
    were held out. Where none were, training images are compared with each other. An image mirrored counts as that image, since training
    mirrors. sheet: where the nearest sixty-four are drawn.
    """
    images, vectors = dataset
    mirrored = images[:training].flip(3)
    others = torch.arange(training, len(images)) if len(images) > training else torch.arange(training)
    others = others[torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))[:MOST_COMPARED]]
    views = {
        "pixels": (_flat(samples[0]), _flat(images), _flat(mirrored)),
        "features": (samples[1], vectors, extractor(mirrored).vectors),
    }
    found, report = {}, {}
    for name, (own, everything, mirror) in views.items():
        rows, names = torch.cat([everything[:training], mirror]), torch.arange(training).repeat(2)
        found[name], theirs = nearest(own, rows), nearest(everything[others], rows, (others, names))
        scale = own.shape[1] ** -0.5 if name == "pixels" else 1.0
        report[f"in_{name}"] = _figures(closeness(found[name].distance * scale, theirs.distance * scale, seed))
    if sheet:
        _draw(samples[0], torch.cat([images[:training], mirrored]), found, sheet)
    kind = "held-out images" if len(images) > training else "other training images"
    return report | {
        "training": training,
        "compared_with": f"{len(others)} {kind}",
        "sheet": str(sheet) if sheet else None,
    }


def _flat(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1).flatten(1)


def _figures(found: Closeness) -> dict:
    parts = {
        name: {"value": part.value} | part.spread()
        for name, part in (("nearer", found.nearer), ("much_nearer", found.much_nearer), ("ratio", found.ratio))
    }
    return parts | {"median_distance": found.median, "typical_distance": found.typical}


def _draw(samples: Tensor, rows: Tensor, found: dict[str, Nearest], sheet: Path) -> None:
    """Groups of sample | nearest in pixels | nearest in features, from the nearest in pixels on."""
    order = found["pixels"].distance.argsort()[: SHEET_ROWS * SHEET_GROUPS]
    columns = [samples[order], *(rows[found[name].row[order]] for name in ("pixels", "features"))]
    columns = [images.expand(-1, 3, -1, -1) for images in columns]
    groups = torch.stack([*columns, torch.full_like(columns[0], 255)], dim=1)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    save_png(sheet, contact_sheet(groups.flatten(0, 1), columns=groups.shape[1] * min(SHEET_GROUPS, len(order))))
