"""Paths of the bundled checkpoints, the assets and the runs, both in a checkout and in an installed package."""

import os
import re
from pathlib import Path
from urllib.parse import unquote

PACKAGE = Path(__file__).resolve().parent
# A wheel holds the checkpoints in the package (pyproject.toml puts them there); a checkout holds them beside it.
CHECKOUT = None if (PACKAGE / "checkpoints").is_dir() else PACKAGE.parent
CHECKPOINTS = (CHECKOUT or PACKAGE) / "checkpoints"
ASSETS = PACKAGE / "ui" / "assets"


def read_asset(name: str) -> str:
    """Return the text of an asset of the web page, such as "style.css"."""
    return (ASSETS / name).read_text(encoding="utf-8")


def bundled_checkpoint(name: str) -> Path | None:
    """Return the folder of a bundled checkpoint such as "avatars-32" or "checkpoints/avatars-32", or None."""
    path = Path(name.removeprefix("checkpoints/"))
    if not path.parts or path.is_absolute() or ".." in path.parts:
        return None
    folder = CHECKPOINTS / path
    return folder if folder.is_dir() else None


def runs_folder() -> Path:
    """Return the folder of the page's training runs, as an absolute path; it may not exist yet.

    It is DIFFUSION_DEMO_RUNS if that is set; otherwise `runs` in the checkout or, for an installed package, in the
    user's data folder.
    """
    if named := os.environ.get("DIFFUSION_DEMO_RUNS"):
        return Path(named).expanduser().absolute()
    if CHECKOUT is not None:
        return CHECKOUT / "runs"

    from platformdirs import user_data_path

    return user_data_path("diffusion-demo", appauthor=False) / "runs"


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
