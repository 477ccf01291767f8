"""First view of a model, before its first run: the replayed example of a bundled one, or an invitation."""

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import ORACLES, CheckpointMetadata, checkpoint_name
from diffusion_demo.paths import CHECKPOINTS
from diffusion_demo.ui.data_uri import data_uri
from diffusion_demo.ui.preview.captions import image_captions, run_caption
from diffusion_demo.ui.sample import words
from diffusion_demo.ui.server.model_list import DEFAULT_MODEL, model_title
from diffusion_demo.untrusted_files import read_json

FOLDER = "showcase"
THUMBNAILS = "thumbnails"  # folder with one PNG per class
MOSAIC = 4  # thumbnails on the card of all classes


class Showcase(NamedTuple):
    """Value of the preview, and the (path, caption) pairs of the gallery."""

    animation: dict[str, Any]
    files: list[tuple[str, None]]


def read(checkpoint: Path) -> Showcase:
    """Return the example of a bundled model, with its captions, or an invitation that names any other model."""
    name = checkpoint_name(checkpoint)
    metadata, title = load_metadata(checkpoint), model_title(name, checkpoint)
    files = _example_files(checkpoint)
    try:
        animation = read_json(checkpoint / FOLDER / "film.json") if files else None
        settings = [_settings_in(path) for path in files]
    except (OSError, ValueError, KeyError):
        animation, settings = None, []
    if not animation:
        return Showcase(invitation(name, title, metadata), [])
    captions = {
        "caption": run_caption(settings, title, metadata),
        "cells": image_captions(settings, metadata),
        "status": f"{words.EXAMPLE}.",
        "idle": True,
    }
    return Showcase(animation | captions, [(str(path), None) for path in files])


def invitation(name: str, title: str, metadata: CheckpointMetadata) -> dict[str, Any]:
    """Return the value of the preview of a model without images. An exact model shows the sixteen that it knows."""
    if name in ORACLES:
        known = CHECKPOINTS / DEFAULT_MODEL / "grid.png"
        return {
            "idle": True,
            "frames": [],
            "empty": words.EXACT.format(model=title, data=words.EXACT_DATA[name]),
            "known": data_uri(known.read_bytes()),
        }
    choose = words.CHOOSE_CLASS if metadata.class_names else ""
    text = words.INVITATION.format(model=title, choose=choose)
    return {"idle": True, "frames": [], "empty": text.replace(". press", ". Press")}


def thumbnail_css(checkpoint: Path, metadata: CheckpointMetadata, cards: str, all_classes: str) -> str:
    """Return the CSS that gives the class cards of a bundled model their thumbnails; empty for any other model.

    cards: the selector of the cards. all_classes: the value of the card of all classes, which gets several thumbnails.
    """
    images = _thumbnails(checkpoint, metadata)
    if not images:
        return ""
    shown = list(images.values())[:MOSAIC]
    places = ("0 0", "100% 0", "0 100%", "100% 100%")
    mosaic = f"background-image: {','.join(shown)}; background-position: {','.join(places[: len(shown)])}"
    rules = {all_classes: f"{mosaic}; background-size: 50% 50%"}
    rules |= {name: f"background-image: {image}; background-size: 100%" for name, image in images.items()}
    return "\n".join(
        f'{cards} label:has(input[value="{_css_string(value)}"])::before {{ content: ""; {rule} }}'
        for value, rule in rules.items()
    )


def _thumbnails(checkpoint: Path, metadata: CheckpointMetadata) -> dict[str, str]:
    """Return the thumbnails of a bundled model as CSS URLs, by class name."""
    if checkpoint.parent != CHECKPOINTS:
        return {}
    paths = {name: checkpoint / THUMBNAILS / f"{name}.png" for name in metadata.class_names}
    return {name: f"url({data_uri(path.read_bytes())})" for name, path in paths.items() if os.path.isfile(path)}


def _css_string(text: str) -> str:
    """Return the text with everything but ASCII letters and digits escaped, for a CSS string within HTML."""
    return re.sub(r"[^A-Za-z0-9]", lambda match: f"\\{ord(match[0]):x} ", text)


def _example_files(checkpoint: Path) -> list[Path]:
    return sorted((checkpoint / FOLDER).glob("seed_*.png")) if checkpoint.parent == CHECKPOINTS else []


def _settings_in(path: Path) -> dict[str, Any]:
    """Return the settings in a PNG of this package, without `diffusion_demo.images`, which loads torch."""
    with Image.open(path, formats=["PNG"]) as image:
        return json.loads(image.info["diffusion_demo"])
