"""Showcase of a bundled model: finished images and the animation of their denoising, shown before the first run."""

from pathlib import Path
from typing import Any, NamedTuple

from diffusion_demo.validation import read_json

FOLDER = "showcase"
THUMBNAILS = "thumbnails"  # folder with one PNG per class


class Showcase(NamedTuple):
    """Value of the preview, and the (path, caption) pairs of the gallery."""

    animation: dict[str, Any] | None
    files: list[tuple[str, None]]


def read(checkpoint: Path) -> Showcase:
    """Return the showcase of a checkpoint folder, or an empty one."""
    folder = checkpoint / FOLDER
    if not (folder / "film.json").is_file():
        return Showcase(None, [])
    try:
        animation = read_json(folder / "film.json")
    except (OSError, ValueError):
        return Showcase(None, [])
    return Showcase(animation, [(str(path), None) for path in sorted(folder.glob("seed_*.png"))])
