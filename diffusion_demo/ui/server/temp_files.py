"""The folder of what Gradio keeps of visits: uploads, and copies of what is shown. It goes with the server, and what is old before that."""

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

import psutil

PREFIX = "diffusion_demo_"


def folder() -> Path:
    """A fresh folder, taken away at the end of this process; those of servers that were killed are taken away now."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*_*"):
        number = left.name.removeprefix(PREFIX).split("_")[0]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}_"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def sweep(age: float, kept: Container[str]) -> None:
    """Take away files that nobody wrote to or was handed for `age` seconds, except the `kept` paths, and folders that are empty for as long.

    Nothing is done in a folder that somebody else named: other things may lie there.
    """
    used, before = Path(os.environ["GRADIO_TEMP_DIR"]), time.time() - age
    if not used.name.startswith(f"{PREFIX}{os.getpid()}_"):
        return
    for path in sorted(used.rglob("*"), reverse=True):  # what is in a folder comes before it
        with suppress(OSError):  # somebody was quicker, or the folder holds something
            if str(path) not in kept and path.lstat().st_ctime < before:
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
