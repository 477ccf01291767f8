"""Paths of the bundled checkpoints, the assets and the runs, both in a checkout and in an installed package."""

import os
import re
import shlex
from argparse import ArgumentTypeError
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

PACKAGE = Path(__file__).resolve().parent
# A wheel holds the checkpoints in the package (pyproject.toml puts them there); a checkout holds them beside it.
CHECKOUT = None if os.path.isdir(PACKAGE / "checkpoints") else PACKAGE.parent
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
    return folder if os.path.isdir(folder) else None


def runs_folder() -> Path:
    """Return the folder of the page's training runs, as an absolute path; it may not exist yet.

    It is DIFFUSION_DEMO_RUNS if that is set; otherwise `runs` in the checkout or, for an installed package, in the
    user's data folder.
    """
    if named := pasted_path(os.environ.get("DIFFUSION_DEMO_RUNS", "")):
        return Path(named).absolute()
    if CHECKOUT is not None:
        return CHECKOUT / "runs"

    from platformdirs import user_data_path

    return user_data_path("diffusion-demo", appauthor=False) / "runs"


def pasted_path(text: str) -> str:
    """Return a pasted path without surrounding quotes or file://, and with ~ expanded.

    A backslash before a space, as terminals and file managers paste it, is removed if the path exists only without it.
    """
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    if text.lower().startswith("file:"):
        text = unquote(re.sub(r"^file:(//(localhost)?(?=/))?", "", text, flags=re.IGNORECASE))
    if text.startswith("~"):
        with suppress(RuntimeError, ValueError):  # no such user; the caller reports the missing path
            text = str(Path(text).expanduser())
    unescaped = text.replace("\\ ", " ")
    return unescaped if unescaped != text and not os.path.exists(text) and os.path.exists(unescaped) else text


def path_option(text: str) -> Path:
    """Return the path given as a command-line option; a `type` of argparse. An empty text is refused."""
    if not (path := pasted_path(text)).strip():  # Path("") is the current folder
        raise ArgumentTypeError("the path is empty. Name a file or folder")
    return Path(path)


ALWAYS_PATHS = ("--data", "--run", "--out", "--config", "--class-names")


def without_folders(command: str) -> str:
    """Return a command line with the last name of each path on this machine, for files that are given to others.

    Names of models on the Hub and of bundled ones stay as they are.
    """
    try:
        words = shlex.split(command)
    except ValueError:  # an open quote: not a command that this program wrote
        return command
    for i, word in enumerate(words):
        option, separator, value = word.partition("=") if word.startswith("--") else ("", "", word)
        is_value = bool(value) and not value.startswith("--")
        previous = option or (words[i - 1] if i else "")
        if is_value and (previous in ALWAYS_PATHS or _is_local_path(value)):
            words[i] = option + separator + _parts(value)[-1]
    return shlex.join(words)


def _is_local_path(text: str) -> bool:
    if re.match("https?://", text):
        return False
    text, parts = pasted_path(text), _parts(text)
    is_pair = len(parts) == 2 and ("\\" in text or os.path.exists(text))  # else it may be a name on the Hub
    return is_pair or len(parts) > 2 or text.startswith((".", "/", "\\"))


def _parts(path: str) -> list[str]:
    """Return the names in a path of this or another system."""
    return re.split(r"[/\\]+", pasted_path(path).rstrip("/\\"))
