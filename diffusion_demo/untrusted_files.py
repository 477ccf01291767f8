"""Read files that may be damaged or malicious: size and nesting depth are bounded, and reading never blocks."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from diffusion_demo.errors import BadInput

MAX_FILE_BYTES = 200_000_000


def read_regular(file: Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the content of a regular file. Raises OSError if it is a pipe or a device, or too large.

    Opening a pipe would wait for a writer forever.
    """
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
            raise OSError(f"{file.name} is not a regular file of at most {max_bytes / 1e6:g} MB")
        return stream.read()


def check_regular(file: Path) -> None:
    """Raise OSError if something other than a regular file, such as a pipe, is at this path.

    To be called before a library opens a file by its path.
    """
    if os.path.exists(file) and not os.path.isfile(file):
        raise OSError(f"{file.name} is not a regular file")


def check_readable(path: Path) -> None:
    """Raise BadInput if the permissions of a file or folder, or of something in the folder, forbid reading.

    To be called before a file is called damaged: safetensors 0.8 reports a file that it may not open as missing.
    """
    effective = os.access in os.supports_effective_ids
    # Before Python 3.14, Path.rglob raises PermissionError for a file in a folder without access.
    inside = (Path(folder, name) for folder, folders, files in os.walk(path) for name in (*folders, *files))
    for each in (path, *inside):
        if os.path.exists(each) and not os.access(each, os.R_OK, effective_ids=effective):
            raise BadInput(f"Cannot read {each} (Permission denied). Change its permissions.")


def parse_json(text: str | bytes) -> Any:
    """Return a JSON value. Raises ValueError, also for one that is nested too deeply for Python's parser."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("the values are nested too deeply") from error


def read_json(file: Path) -> Any:
    """Return the value in a JSON file. Raises OSError or ValueError if it is damaged."""
    return parse_json(read_regular(file))
