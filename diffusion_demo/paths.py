"""Paths of the repository, the bundled checkpoints and the assets of the web page."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINTS = ROOT / "checkpoints"
ASSETS = Path(__file__).resolve().parent / "ui" / "assets"


def read_asset(name: str) -> str:
    """Return the text of an asset of the web page, such as "style.css"."""
    return (ASSETS / name).read_text(encoding="utf-8")
