"""Captions of generated images: which model, class, seed and settings made them."""

from typing import Any

from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.sampling.presets import SAMPLER_TITLES
from diffusion_demo.ui.sample.words import ALL_CLASSES

Settings = list[dict[str, Any]]  # of each image, as stored in its PNG


def run_caption(settings: Settings, model: str, metadata: CheckpointMetadata) -> str:
    """Return what the images of one run have in common: the title of the model, class, seeds and sampler settings."""
    first, seeds = settings[0], sorted(image["seed"] for image in settings)
    classes = {image.get("class") for image in settings}
    class_title = _class_title(classes.pop(), metadata) if len(classes) == 1 else ALL_CLASSES
    parts = [
        model,
        class_title if metadata.class_names else None,
        f"Seed {seeds[0]}" if seeds[0] == seeds[-1] else f"Seeds {seeds[0]} to {seeds[-1]}",
        f"Strength {first['how_far']:g} %" if "how_far" in first else None,
        f"{SAMPLER_TITLES[first.get('sampler', 'ddpm')]}, {_counted(int(first['steps']), 'step')}",
        f"Guidance {first['guidance_scale']:g}" if first.get("guidance_scale", 1) != 1 else None,
        f"Classifier guidance {first['classifier_scale']:g}" if first.get("classifier_scale") else None,
        "Upscaled 2x" if first.get("upsampler") else None,
    ]
    return " · ".join(part for part in parts if part)


def image_captions(settings: Settings, metadata: CheckpointMetadata) -> list[str]:
    """Return what tells each image of one run from the others: its class and its seed."""
    return [
        f"{_class_title(image['class'], metadata)}, seed {image['seed']}"
        if "class" in image
        else f"Seed {image['seed']}"
        for image in settings
    ]


def _class_title(name: str | None, metadata: CheckpointMetadata) -> str:
    title = metadata.title(name) if name else ALL_CLASSES
    return title[:1].upper() + title[1:]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
