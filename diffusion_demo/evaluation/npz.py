"""Sample batches as the papers' code keeps them: arr_0, uint8 [N, H, W, 3], and arr_1, the classes, in one .npz file."""

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffusion_demo.errors import BadInput

UNREADABLE = (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)


def is_npz(path: str | Path) -> bool:
    """By its name: other zips are folders of images."""
    return Path(path).suffix.lower() == ".npz"


def read_npz(path: str | Path) -> tuple[Tensor, Tensor | None]:
    """arr_0 as uint8 [N, C, H, W], C = 1 or 3, and arr_1 as int64 [N], or None where there is none. Nothing pickled is read.

    Raises BadInput with one sentence for anything else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("arr_0", "arr_1") if name in file.files}
    except FileNotFoundError as error:
        raise BadInput(f"There is nothing at {path}; give an .npz file that is there.") from error
    except (
        *UNREADABLE,
        AttributeError,
        TypeError,
    ) as error:  # a lone array or a pickle in a file of that name has no files
        raise BadInput(
            f"{path} is no sample batch, or damaged; it must be an .npz file with the images as arr_0."
        ) from error
    if "arr_0" not in arrays:
        raise BadInput(f"{path} holds no arr_0; a sample batch keeps its images, uint8 [N, H, W, 3], under that name.")
    images, labels = arrays["arr_0"], arrays.get("arr_1")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise BadInput(f"arr_0 of {path} must be uint8 [N, H, W, 3], not {images.dtype} {list(images.shape)}.")
    if labels is not None and not (np.issubdtype(labels.dtype, np.integer) and labels.shape == images.shape[:1]):
        raise BadInput(
            f"arr_1 of {path} must be one whole number for each of the {len(images)} images, not {labels.dtype} {list(labels.shape)}."
        )
    images = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return images, None if labels is None else torch.from_numpy(labels.astype(np.int64))


def check_target(path: Path) -> None:
    """Raise BadInput where no batch could be written, before hours of sampling for it."""
    if not is_npz(path):
        raise BadInput(f"A sample batch is an .npz file; call {path} so.")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise BadInput(f"Cannot write to {path}; choose another place.")


def write_npz(path: Path, images: Tensor, labels: Tensor | None) -> None:
    """Write images uint8 [N, C, H, W], gray ones as color, and their classes [N], whole or not at all.

    Raises BadInput when that cannot be written.
    """
    arrays = [images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()]
    arrays += [] if labels is None else [labels.numpy()]
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, *arrays)
        os.replace(partial, path)
    except OSError as error:
        raise BadInput(f"Cannot write to {path} ({error.strerror or error}); choose another place.") from error
    finally:
        partial.unlink(missing_ok=True)
