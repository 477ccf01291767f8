"""Gradio's temporary folder: uploads and copies of displayed files. It is deleted when the server exits."""

import atexit
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

import psutil

PREFIX = "diffusion_demo_"  # followed by the server's process ID


def create_folder() -> Path:
    """Create a folder that is deleted when this process exits. Folders left by killed servers are deleted now."""
    for leftover in _leftovers():
        pid = leftover.name.removeprefix(PREFIX).split("_")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)
    try:
        temp_folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}_"))
    except OSError as error:
        sys.exit(
            f"Cannot create a temporary folder ({error.strerror or error}). Set TMPDIR to a folder with free space."
        )
    atexit.register(shutil.rmtree, temp_folder, ignore_errors=True)
    return temp_folder


def _leftovers() -> list[Path]:
    with suppress(OSError):  # no temporary folder can be written to, which `create_folder` reports
        return list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*_*"))
    return []


def restore() -> None:
    """Create the folder again if something has removed it, such as a cleaner of /tmp."""
    os.makedirs(os.environ["GRADIO_TEMP_DIR"], mode=0o700, exist_ok=True)


def delete_old(max_age_seconds: float, protected: Container[str]) -> None:
    """Delete files and empty folders that have not changed for `max_age_seconds`, except the `protected` paths.

    Does nothing if GRADIO_TEMP_DIR was set by the user, as that folder may contain other files.
    """
    temp_folder, oldest = Path(os.environ["GRADIO_TEMP_DIR"]), time.time() - max_age_seconds
    if not temp_folder.name.startswith(f"{PREFIX}{os.getpid()}_"):
        return
    # Bottom-up: a folder comes after its contents. Unlike Path.rglob, os.walk skips folders that no longer exist.
    for parent, folders, files in os.walk(temp_folder, topdown=False):
        for path in (Path(parent, name) for name in (*files, *folders)):
            with suppress(OSError):  # already deleted, or a folder that is not empty
                if str(path) not in protected and path.lstat().st_ctime < oldest:
                    path.rmdir() if os.path.isdir(path) and not path.is_symlink() else path.unlink()
