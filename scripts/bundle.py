"""Create or refresh a bundled model: `python -m scripts.bundle avatars-32 --run runs/avatars-32`.

With --run, installs the weights of the run's latest checkpoint in float16. A classifier, of which it takes the
checkpoint with the best held-out loss, is stored inside the model that it guides. Without --run, keeps the weights.
Either way, regenerates what is sampled from the weights: the images that the page shows first, a thumbnail per class,
the contact sheet of sixteen images, and the model card.
"""

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

from diffusers import UNet2DModel
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file

from diffusion_demo.images import contact_sheet, save_png, to_pil, to_uint8
from diffusion_demo.models.checkpoint import Checkpoint, copy_as_float16, load_checkpoint
from diffusion_demo.models.classifier import load_classifier, save_classifier
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import CLASSIFIER, has_classifier
from diffusion_demo.models.model_card import model_card
from diffusion_demo.paths import CHECKPOINTS
from diffusion_demo.sampling.generate import last_step, make_noise, sample
from diffusion_demo.sampling.image_writer import file_name, settings_of
from diffusion_demo.sampling.request import Request, image_specs
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.preview.frames import first_frame, frame, make_animation
from diffusion_demo.ui.preview.showcase import FOLDER, THUMBNAILS

NOTES = "## What a person sees"  # heading of the handwritten part of a model card, which is kept


MODELS = ("avatars-32", "avatars-64")
CREDIT = (
    "Trained on avatars drawn by [DiceBear](https://www.dicebear.com) (reproduced by `python -m scripts.avatars`). "
    "All ten styles are CC0 1.0: Critters, Sprouts, Planets, Voxel Art, Pixel Art, Landscape, Moods, Voxel Bot and "
    "Cutouts by DiceBear, Lorelei by Lisa Wischofsky."
)


def showcase_request() -> Request:
    """Return the request for sixteen images at the page's default settings, seeds 0 to 15."""
    return Request(num_images=16, precision="fp32")


def install(name: str, run: RunFolder, ema_decay: float | None) -> None:
    """Replace the weights of checkpoints/`name` with those of a run, averaged with `ema_decay` if it is not None.

    Raises SystemExit if the run has no checkpoint.
    """
    source = run.latest()
    if source is None:
        raise SystemExit(f"{run.path} has no checkpoint yet. Train it first.")
    target = CHECKPOINTS / name
    if load_metadata(source).task == "classifier":
        _install_classifier(name, run.best() or source, target / CLASSIFIER)
        return
    staging = CHECKPOINTS / f".{name}.partial"
    shutil.rmtree(staging, ignore_errors=True)
    copy_as_float16(source, staging)
    metadata = load_metadata(source)
    if ema_decay is not None:
        _averaged(source, ema_decay).half().save_pretrained(staging / "unet")
        metadata = replace(metadata, held_out_loss=None)  # it was measured with the average of the first decay
    metadata.save(staging)
    if has_classifier(target):
        shutil.copytree(target / CLASSIFIER, staging / CLASSIFIER)
    if (target / "README.md").is_file():
        shutil.copyfile(target / "README.md", staging / "README.md")  # keeps the handwritten part
    shutil.rmtree(target, ignore_errors=True)
    staging.rename(target)


def _install_classifier(name: str, source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    save_classifier(target, load_classifier(source / CLASSIFIER).half())
    card = (source / "README.md").read_text(encoding="utf-8")
    (target / "README.md").write_text(_licensed(card), encoding="utf-8")


def _averaged(source: Path, decay: float) -> UNet2DModel:
    """Return the network of a run's checkpoint with the weights averaged with another of its EMA decays."""
    unet = UNet2DModel.from_pretrained(source / "unet", local_files_only=True)
    shadow = load_file(source / "state" / f"ema_{decay}.safetensors")
    average = EMAModel(unet.parameters())
    average.shadow_params = [shadow[str(i)] for i in range(len(shadow))]
    average.copy_to(unet.parameters())
    return unet


def render(name: str) -> None:
    """Regenerate the showcase, thumbnails, contact sheet and model card of checkpoints/`name`.

    An upsampler has only the model card.
    """
    folder = CHECKPOINTS / name
    checkpoint = load_checkpoint(folder)
    grid = ""
    if checkpoint.description.task == "diffusion":
        request = showcase_request()
        _render_showcase(folder, name, checkpoint, request)
        _render_thumbnails(folder, checkpoint, request)
        settings = f"seeds 0 to 15, {request.sampler}, {request.steps} steps"
        grid = f"\n![sixteen images at the default settings: {settings}](grid.png)\n"
    parameters = sum(p.numel() for p in checkpoint.unet.parameters())
    before = (folder / "README.md").read_text(encoding="utf-8") if (folder / "README.md").is_file() else ""
    notes = f"\n{NOTES}{before.partition(NOTES)[2]}" if NOTES in before else ""
    card = _licensed(model_card(checkpoint.description, parameters)) + grid + notes
    (folder / "README.md").write_text(card, encoding="utf-8")


def _render_showcase(folder: Path, name: str, checkpoint: Checkpoint, request: Request) -> None:
    specs = image_specs(request, checkpoint.description)
    frames = [first_frame(make_noise(checkpoint, specs)(), len(checkpoint.diffusion))]
    step = None
    for step in sample(checkpoint, request):
        frames.append(frame(step))
    assert step is not None
    showcase = folder / FOLDER
    shutil.rmtree(showcase, ignore_errors=True)
    showcase.mkdir()
    pixels = to_uint8(step.xt)
    for image, settings in zip(pixels, settings_of(request, specs, name, checkpoint), strict=True):
        save_png(showcase / file_name(settings["seed"]), to_pil(image), settings)
    animation = make_animation(frames, step.total, f"Example result. Drag to replay the {step.total} steps.")
    (showcase / "film.json").write_text(json.dumps(animation | {"replay": True}), encoding="utf-8")
    sheet = contact_sheet(pixels)
    save_png(folder / "grid.png", sheet.resize((sheet.width * 4, sheet.height * 4), 0))


def _render_thumbnails(folder: Path, checkpoint: Checkpoint, request: Request) -> None:
    thumbnails = folder / THUMBNAILS
    shutil.rmtree(thumbnails, ignore_errors=True)
    thumbnails.mkdir()
    for index, class_name in enumerate(checkpoint.description.class_names):
        step = last_step(sample(checkpoint, replace(request, num_images=1, class_index=index)))
        save_png(thumbnails / f"{class_name}.png", to_pil(to_uint8(step.xt)[0]))


def _licensed(card: str) -> str:
    """Return a model card with the license in its front matter and the credit at its end."""
    return card.replace("---\n", "---\nlicense: apache-2.0\n", 1) + f"\n{CREDIT}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=MODELS)
    parser.add_argument(
        "--run", type=RunFolder, metavar="DIR", help="install the weights of this run (default: keep the weights)"
    )
    parser.add_argument(
        "--ema-decay",
        type=float,
        metavar="D",
        help="EMA decay of the weights to install, one of the run's (default: its first)",
    )
    arguments = parser.parse_args()
    if arguments.run:
        install(arguments.name, arguments.run, arguments.ema_decay)
    render(arguments.name)


if __name__ == "__main__":
    main()
