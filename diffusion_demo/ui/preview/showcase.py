"""What a first-time visitor sees before any click: images made beforehand by the bundled model, and the film of their making."""

import json
from pathlib import Path
from typing import NamedTuple

FOLDER = "showcase"
THUMBNAILS = "thumbnails"  # a PNG of each class


class Showcase(NamedTuple):
    """A film for the stage, and the finished images' files."""

    animation: dict | None
    files: list[tuple[str, None]]


def read(checkpoint: Path) -> Showcase:
    """The showcase inside a checkpoint folder, or an empty one."""
    folder = checkpoint / FOLDER
    if not (folder / "film.json").is_file():
        return Showcase(None, [])
    animation = json.loads((folder / "film.json").read_text(encoding="utf-8"))
    return Showcase(animation, [(str(path), None) for path in sorted(folder.glob("seed_*.png"))])
