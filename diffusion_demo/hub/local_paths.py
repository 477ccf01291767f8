"""Remove local paths, which may contain a user name, from text. Each path is reduced to its last part."""

import os
import re
import shlex
from typing import Any

from diffusion_demo.models.hub import is_hub_id

TAKE_MODELS = ("--init-from", "--checkpoint", "--classifier", "--upsampler")  # a folder, or a name on the Hub
# A path may contain spaces between its root and its last slash. In case of doubt, text counts as part of the path.
ABSOLUTE = re.compile(
    r"(?<![\w.:/\\-])(?:~|[A-Za-z]:(?=[\\/])|file:/)?[\\/](?:[^'\"`<>|,;)\]\n]*[\\/])?[^\s'\"`<>|,;)\]]*"
)


def without_paths(value: Any) -> Any:
    """Return text, or all texts in a JSON value, without absolute paths."""
    if isinstance(value, dict):
        return {without_paths(name): without_paths(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(without_paths, value))
    return ABSOLUTE.sub(lambda match: last_part(match[0]), value) if isinstance(value, str) else value


def command_without_paths(command: str) -> str:
    """Return a command line whose paths, relative ones too, are reduced to their last part. Hub names stay."""
    try:
        words = shlex.split(command)
    except ValueError:  # an unmatched quote
        return without_paths(command)
    shown, option = [], ""
    for word in words:
        name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        cleaned = _clean(value, name or option) if equals or not name else ""
        shown.append(f"{name}{equals}{cleaned}")
        option = word if word.startswith("--") else ""
    return shlex.join(shown)


def _clean(word: str, option: str) -> str:
    is_path = bool(re.search(r"[\\/]", word)) or word.startswith("~")
    if not is_path or (option in TAKE_MODELS and is_hub_id(word) and not os.path.exists(word)):
        return word
    return last_part(word)


def last_part(path: str) -> str:
    """Return the last part of a path of any system."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1] or "..."
