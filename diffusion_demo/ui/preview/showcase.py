"""Showcase of a bundled model: finished images and the animation of their denoising, shown before the first run."""

import json
from pathlib import Path
from typing import Any, NamedTuple

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
    animation = json.loads((folder / "film.json").read_text(encoding="utf-8"))
    return Showcase(animation, [(str(path), None) for path in sorted(folder.glob("seed_*.png"))])
