"""Paths of the repository, the bundled checkpoints and the assets of the web page."""

import re
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINTS = ROOT / "checkpoints"
ASSETS = Path(__file__).resolve().parent / "ui" / "assets"


def read_asset(name: str) -> str:
    """Return the text of an asset of the web page, such as "style.css"."""
    return (ASSETS / name).read_text(encoding="utf-8")


def pasted_path(text: str) -> str:
    """Return a path as the user means it: without quotes around it, a file:// address, or ~ for the home folder.

    A backslash before a space, as terminals and file managers paste it, is removed if only then something exists there.
    """
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    if text.lower().startswith("file:"):
        text = unquote(re.sub(r"^file:(//(localhost)?(?=/))?", "", text, flags=re.IGNORECASE))
    if text.startswith("~"):
        text = str(Path(text).expanduser())
    unescaped = text.replace("\\ ", " ")
    return unescaped if unescaped != text and not Path(text).exists() and Path(unescaped).exists() else text
