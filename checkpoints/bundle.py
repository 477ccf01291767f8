"""Make a bundled model from a training run: `python -m checkpoints.bundle runs/emoji-32`.

Takes the run's latest averaged weights (of a classifier, the best on held-out pictures) in float16. A diffusion model becomes emoji-32, with the
pictures that the page shows before any click; a classifier goes beside it, into emoji-32/classifier; an upsampler becomes emoji-64.
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from diffusion_demo.images import contact_sheet, save_png, to_pil, to_uint8
from diffusion_demo.models.card import model_card
from diffusion_demo.models.checkpoint import halve_weights, load_checkpoint
from diffusion_demo.models.classifier import load_classifier, save_classifier
from diffusion_demo.models.description import CLASSIFIER, describe, has_classifier
from diffusion_demo.picture_files import file_name, settings_of
from diffusion_demo.request import Request, pictures_of
from diffusion_demo.sampling import noise_of, sample
from diffusion_demo.training.run import RunFolder
from diffusion_demo.ui.film import film, first_frame, frame
from diffusion_demo.ui.showcase import FOLDER

HERE = Path(__file__).resolve().parent
TARGET, UPSAMPLER = HERE / "emoji-32", HERE / "emoji-64"
TITLES = {
    "activities": "activities",
    "animals-nature": "animals and nature",
    "flags": "flags",
    "food-drink": "food and drink",
    "objects": "objects",
    "people-body": "people",
    "smileys-emotion": "smileys",
    "symbols": "symbols",
    "travel-places": "travel and places",
}
SHOWN = Request(num_images=16, sampler="ddim", steps=25, seed=0, guidance_scale=2.0, precision="fp32")
CREDIT = """
Trained on [Noto Emoji](https://github.com/googlefonts/noto-emoji), Google LLC, image resources under the Apache License 2.0.
"""
GRID = """
![sixteen pictures made with seeds 0 to 15, 25 DDIM steps, guidance 2](grid.png)
"""


def bundle(run: RunFolder) -> None:
    source = run.latest()
    if source is None:
        sys.exit(f"{run.path} holds no checkpoint yet.")
    {"diffusion": _diffusion, "classifier": _classifier, "upsampler": _upsampler}[describe(source).task](run, source)


def _classifier(run: RunFolder, source: Path) -> None:
    source, target = run.best() or source, TARGET / CLASSIFIER
    shutil.rmtree(target, ignore_errors=True)
    save_classifier(target, load_classifier(source / CLASSIFIER).half())
    (target / "README.md").write_text(_licensed(source / "README.md") + CREDIT, encoding="utf-8")


def _upsampler(run: RunFolder, source: Path) -> None:
    shutil.rmtree(UPSAMPLER, ignore_errors=True)
    halve_weights(source, UPSAMPLER)
    (UPSAMPLER / "README.md").write_text(_licensed(source / "README.md") + CREDIT, encoding="utf-8")


def _licensed(card: Path) -> str:
    return card.read_text(encoding="utf-8").replace("---\n", "---\nlicense: apache-2.0\n", 1)


def _diffusion(run: RunFolder, source: Path) -> None:
    step = describe(source).steps
    staging = TARGET.with_name(".emoji-32.partial")
    shutil.rmtree(staging, ignore_errors=True)
    halve_weights(source, staging)
    if has_classifier(TARGET):
        shutil.copytree(TARGET / CLASSIFIER, staging / CLASSIFIER)
    replace(describe(source), titles=TITLES).save(staging)

    checkpoint = load_checkpoint(staging)
    pictures = pictures_of(SHOWN, checkpoint.description)
    frames = [first_frame(noise_of(checkpoint, pictures)(), len(checkpoint.diffusion))]
    for made in sample(checkpoint, SHOWN):
        if made.index % 2 or made.index == made.total:
            frames.append(frame(made))
    showcase = staging / FOLDER
    showcase.mkdir()
    pixels = to_uint8(made.xt)
    for picture, settings in zip(pixels, settings_of(SHOWN, pictures, TARGET.name, checkpoint), strict=True):
        save_png(showcase / file_name(settings["seed"]), to_pil(picture), settings)
    status = "Made beforehand; drag the slider to see how."
    (showcase / "film.json").write_text(json.dumps(film(frames, made.total, status)), encoding="utf-8")
    sheet = contact_sheet(pixels)
    save_png(staging / "grid.png", sheet.resize((sheet.width * 4, sheet.height * 4), 0))

    events = [event for event in run.events() if event.get("step", step + 1) <= step]
    step_losses, held_out = ([event["loss"] for event in events if event["type"] == kind] for kind in ("step", "held_out"))
    parameters = sum(p.numel() for p in checkpoint.unet.parameters())
    description = replace(checkpoint.description, held_out_loss=held_out[-1])
    card = model_card(description, parameters, sum(step_losses[-20:]) / 20)
    (staging / "README.md").write_text(card.replace("---\n", "---\nlicense: apache-2.0\n", 1) + CREDIT + GRID, encoding="utf-8")
    shutil.rmtree(TARGET, ignore_errors=True)
    staging.rename(TARGET)


if __name__ == "__main__":
    bundle(RunFolder(sys.argv[1]))
