"""Where the repository, the bundled checkpoints and the page's assets lie."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINTS = ROOT / "checkpoints"
ASSETS = Path(__file__).resolve().parent / "ui" / "assets"


def read_asset(name: str) -> str:
    """Return the text of one of the page's assets, such as "sample/stage.html"."""
    return (ASSETS / name).read_text(encoding="utf-8")
