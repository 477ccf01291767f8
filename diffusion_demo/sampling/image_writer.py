"""Images in a folder: one PNG each, with the settings that make it again inside; thousands in batches, and on from where it was left."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from diffusion_demo import __version__
from diffusion_demo.errors import BadInput
from diffusion_demo.images import read_settings, save_png, to_pil, to_uint8
from diffusion_demo.models.checkpoint import Checkpoint
from diffusion_demo.runtime.device import resolve_precision
from diffusion_demo.sampling.generate import last_step, sample_batch, upsample
from diffusion_demo.sampling.request import ImageSpec, Request

BATCH_SIZE = 16


def settings_of(
    request: Request, specs: list[ImageSpec], checkpoint_name: str, checkpoint: Checkpoint, **helpers: str
) -> list[dict]:
    """For each image, what makes it again: the text inside its PNG. helpers: the names of the upsampler and the classifier that took part."""
    common = asdict(request) | {
        "program": f"diffusion_demo {__version__}",
        "checkpoint": checkpoint_name,
        "weights": checkpoint.weights,
        "num_images": 1,
        "precision": resolve_precision(request.precision, checkpoint.unet.device),
    }
    del common["class_index"]
    common["guidance_interval"] = list(request.guidance_interval) if request.guidance_interval else None
    optional_fields = {"guidance_interval": None, "classifier_scale": 0.0}
    common = {
        name: value for name, value in common.items() if name not in optional_fields or value != optional_fields[name]
    } | helpers
    names = checkpoint.description.class_names
    return [common | {"seed": seed} | ({} if index is None else {"class": names[index]}) for seed, index in specs]


def file_name(seed: int) -> str:
    return f"seed_{seed:08d}.png"


def sample_to_folder(
    checkpoint: Checkpoint,
    checkpoint_name: str,
    request: Request,
    specs: list[ImageSpec],
    out: Path,
    progress: Callable[[int], None] = lambda images: None,
    upscale_with: Checkpoint | None = None,
    **helpers: str,
) -> list[Path]:
    """Write one PNG per image into `out`, in batches, and return their paths. Images already there with the same settings are kept.

    progress(n) is told of each n images that are done; upscale_with is an upsampler; helpers are as in settings_of. Raises BadInput when `out`
    cannot be written or holds other images of those names.
    """
    request.check(checkpoint.description)
    settings = settings_of(request, specs, checkpoint_name, checkpoint, **helpers)
    paths = [out / file_name(image.seed) for image in specs]
    try:
        out.mkdir(parents=True, exist_ok=True)
        missing = [i for i, path in enumerate(paths) if not _is_there(path, settings[i])]
        progress(len(paths) - len(missing))
        for start in range(0, len(missing), BATCH_SIZE):
            batch = missing[start : start + BATCH_SIZE]
            seeds = [specs[i] for i in batch]
            made = to_uint8(last_step(sample_batch(checkpoint, request, seeds)).xt)
            if upscale_with:
                made = to_uint8(last_step(upsample(upscale_with, made, request, seeds)).xt)
            for i, pixels in zip(batch, made, strict=True):
                save_png(paths[i], to_pil(pixels), settings[i])
            progress(len(batch))
    except OSError as error:
        raise BadInput(f"Cannot write to {out} ({error.strerror or error}); choose another folder.") from error
    return paths


def _is_there(path: Path, settings: dict) -> bool:
    if not path.exists():
        return False
    try:
        found = read_settings(path)
    except BadInput:
        found = None
    if found != settings:
        raise BadInput(f"{path} was made with other settings; choose another folder, or remove it.")
    return True
