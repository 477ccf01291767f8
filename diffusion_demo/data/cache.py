"""Decoded pictures on disk, for a data set larger than memory or one that is loaded again and again."""

import json
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from diffusion_demo.errors import BadInput


def cached(folder: Path, name: str, key: dict, shape: tuple[int, ...], fill: Callable[[np.ndarray], None]) -> np.ndarray:
    """uint8 of `shape`: mapped from NAME.npy where NAME.json beside it holds this key, else filled and written there first.

    Writing into the array changes no file. Raises BadInput when the disk has no room or cannot be written to.
    """
    array_file, key_file = folder / f"{name}.npy", folder / f"{name}.json"
    partial = folder / f".{name}.{uuid.uuid4().hex}.partial"
    if (found := _opened(array_file, key_file, key, shape)) is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_room(folder, int(np.prod(shape)))
        key_file.unlink(missing_ok=True)  # a new array beside the old key would be a lie
        array = open_memmap(partial, "w+", np.uint8, shape)
        fill(array)
        array.flush()
        del array
        os.replace(partial, array_file)
        partial.write_text(json.dumps(key), encoding="utf-8")
        os.replace(partial, key_file)
        return open_memmap(array_file, "c")
    except OSError as error:
        raise BadInput(f"Cannot keep the decoded pictures in {folder} ({error.strerror or error}); choose another folder.") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _opened(array_file: Path, key_file: Path, key: dict, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        if json.loads(key_file.read_text(encoding="utf-8")) != key:
            return None
        array = open_memmap(array_file, "c")
    except (OSError, ValueError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


def _check_room(folder: Path, needed: int) -> None:
    # A mapped file on a full disk does not raise: it kills the process.
    if shutil.disk_usage(folder).free < needed + (1 << 20):
        raise BadInput(f"The decoded pictures take {needed / 1e9:.1f} GB, more than {folder} has free; choose another folder.")
