"""Sampling into a folder: one PNG per image with its settings inside, in batches, resuming where a run stopped."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diffusion_demo import __version__
from diffusion_demo.atomic import created_folder, sweep
from diffusion_demo.errors import BadInput
from diffusion_demo.images import read_settings, save_png, to_pil, to_uint8
from diffusion_demo.models.checkpoint import Checkpoint
from diffusion_demo.runtime.device import resolve_precision
from diffusion_demo.sampling.generate import check_upsampling, device_of, last_step, sample_batch, upsample
from diffusion_demo.sampling.request import ImageSpec, Request

BATCH_SIZE = 16


def settings_of(
    request: Request, specs: list[ImageSpec], checkpoint_name: str, checkpoint: Checkpoint, **provenance: str
) -> list[dict[str, Any]]:
    """Return the settings that reproduce each image, as stored in its PNG.

    provenance: the names of the upsampler and the classifier that were used, if any.
    """
    request = request.resolved(checkpoint.diffusion)
    common = asdict(request) | {
        "program": f"diffusion_demo {__version__}",
        "checkpoint": checkpoint_name,
        "weights": checkpoint.weights,
        "num_images": 1,
        "precision": resolve_precision(request.precision, device_of(checkpoint)),
    }
    del common["class_index"]
    common["guidance_interval"] = list(request.guidance_interval) if request.guidance_interval else None
    optional_fields = {"guidance_interval": None, "classifier_scale": 0.0}
    common = {
        name: value for name, value in common.items() if name not in optional_fields or value != optional_fields[name]
    } | provenance
    names = checkpoint.description.class_names
    return [common | {"seed": seed} | ({} if index is None else {"class": names[index]}) for seed, index in specs]


def file_name(seed: int) -> str:
    """Return the name of the PNG of the image with this seed."""
    return f"seed_{seed:08d}.png"


def sample_to_folder(
    checkpoint: Checkpoint,
    checkpoint_name: str,
    request: Request,
    specs: list[ImageSpec],
    out: Path,
    progress: Callable[[int], object] = lambda images: None,
    upscale_with: Checkpoint | None = None,
    **provenance: str,
) -> list[Path]:
    """Write one PNG per image into `out`, in batches, and return the paths.

    Images with the same settings are kept. progress(n) is called after every n images; upscale_with is an upsampler;
    provenance is as in settings_of. Raises BadInput before the first image if a model does not support the request, and
    if `out` cannot be written or has images with these names but other settings.
    """
    _check_models(checkpoint, request, upscale_with)
    settings = settings_of(request, specs, checkpoint_name, checkpoint, **provenance)
    paths = [out / file_name(image.seed) for image in specs]
    try:
        with created_folder(out):
            sweep(out, {path.name for path in paths})
            missing = [i for i, path in enumerate(paths) if not _is_written(path, settings[i])]
            progress(len(paths) - len(missing))
            for start in range(0, len(missing), BATCH_SIZE):
                batch = missing[start : start + BATCH_SIZE]
                batch_specs = [specs[i] for i in batch]
                images = to_uint8(last_step(sample_batch(checkpoint, request, batch_specs)).xt)
                if upscale_with:
                    steps = upsample(upscale_with, images, request, batch_specs, checkpoint.description.class_names)
                    images = to_uint8(last_step(steps).xt)
                for i, pixels in zip(batch, images, strict=True):
                    save_png(paths[i], to_pil(pixels), settings[i])
                progress(len(batch))
    except OSError as error:
        raise BadInput(f"Cannot write to {out} ({error.strerror or error}). Choose another folder.") from error
    return paths


def _check_models(checkpoint: Checkpoint, request: Request, upscale_with: Checkpoint | None) -> None:
    description = checkpoint.description
    checkpoint.denoiser("fp32")  # raises BadInput for a classifier and an upsampler
    request.check(description)
    if upscale_with:
        check_upsampling(upscale_with.description, description.channels, description.image_size, request)


def _is_written(path: Path, settings: dict[str, Any]) -> bool:
    if not os.path.exists(path):
        return False
    try:
        existing = read_settings(path)
    except BadInput:
        existing = None
    if existing != settings:
        raise BadInput(f"{path} was made with other settings. Choose another folder, or remove the file.")
    return True
