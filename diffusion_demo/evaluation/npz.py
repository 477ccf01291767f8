"""Sample batches in the .npz format of the papers' code: images arr_0, uint8 [N, H, W, 3], and classes arr_1.

Its reference batches also have mu and sigma, mu_s and sigma_s: mean and covariance of the Inception features, spatial
ones with _s, of more images than arr_0 has.
"""

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffusion_demo.atomic import atomic_path
from diffusion_demo.errors import BadInput
from diffusion_demo.evaluation.frechet import FeatureStatistics
from diffusion_demo.untrusted_files import check_readable, check_regular

READ_ERRORS = (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)


def is_npz(path: str | Path) -> bool:
    """Return whether the path names an .npz file; other zip files hold single images."""
    return Path(path).suffix.lower() == ".npz"


def read_npz(path: str | Path) -> tuple[Tensor, Tensor | None]:
    """Return arr_0 as uint8 [N, C, H, W], C = 1 or 3, and arr_1 as int64 [N], or None if it is missing.

    Pickled data is never loaded. Raises BadInput for anything that is not a sample batch.
    """
    arrays = _read_arrays(path, "arr_0", "arr_1")
    if "arr_0" not in arrays:
        raise BadInput(f"{path} has no arr_0. Store the images of a sample batch as arr_0, uint8 [N, H, W, 3].")
    images, labels = arrays["arr_0"], arrays.get("arr_1")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise BadInput(f"arr_0 of {path} must be uint8 [N, H, W, 3], not {images.dtype} {list(images.shape)}.")
    if labels is not None and not (np.issubdtype(labels.dtype, np.integer) and labels.shape == images.shape[:1]):
        raise BadInput(
            f"arr_1 of {path} must be one whole number for each of the {len(images)} images,"
            f" not {labels.dtype} {list(labels.shape)}."
        )
    images = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return images, None if labels is None else torch.from_numpy(labels.astype(np.int64))


def read_statistics(path: str | Path) -> dict[str, FeatureStatistics]:
    """Return the statistics stored in a batch: of "vectors" from mu and sigma, of "spatial" from mu_s and sigma_s.

    Those that are missing are left out. Raises BadInput for statistics that cannot be read or do not fit together.
    """
    arrays, found = _read_arrays(path, "mu", "sigma", "mu_s", "sigma_s"), {}
    for features, suffix in (("vectors", ""), ("spatial", "_s")):
        mean, covariance = arrays.get(f"mu{suffix}"), arrays.get(f"sigma{suffix}")
        if mean is None or covariance is None:
            continue
        is_numeric = mean.dtype.kind == covariance.dtype.kind == "f"
        if not is_numeric or mean.ndim != 1 or covariance.shape != (len(mean), len(mean)) or not len(mean):
            raise BadInput(
                f"mu{suffix} and sigma{suffix} of {path} must be floats [D] and [D, D], not {mean.dtype}"
                f" {list(mean.shape)} and {covariance.dtype} {list(covariance.shape)}."
            )
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise BadInput(f"mu{suffix} or sigma{suffix} of {path} has values that are not finite. Compute them again.")
        found[features] = FeatureStatistics(torch.from_numpy(mean).double(), torch.from_numpy(covariance).double())
    return found


def _read_arrays(path: str | Path, *names: str) -> dict[str, np.ndarray]:
    try:
        check_regular(Path(path))
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names if name in file.files}
    except FileNotFoundError as error:
        raise BadInput(f"No file at {path}. Check the path.") from error
    # np.load returns an object without `files` for a single array or a pickle named .npz
    except (*READ_ERRORS, AttributeError, TypeError) as error:
        check_readable(Path(path))
        raise BadInput(
            f"{path} is not a sample batch, or is damaged. Use an .npz file with the images as arr_0."
        ) from error


def check_output_path(path: Path) -> None:
    """Raise BadInput if no batch can be written to the path; to be called before sampling, which may take hours."""
    if not is_npz(path):
        raise BadInput(f"{path} does not end in .npz. Choose an .npz file name for the sample batch.")
    if os.path.isdir(path) or not os.access(path.parent, os.W_OK):
        raise BadInput(f"Cannot write to {path}. Choose another path.")


def write_npz(path: Path, images: Tensor, labels: Tensor | None) -> None:
    """Write images uint8 [N, C, H, W], grayscale ones with three channels, and their classes int64 [N], atomically.

    Raises BadInput if the file cannot be written.
    """
    arrays = [images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()]
    arrays += [] if labels is None else [labels.numpy()]
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, *arrays)
    except OSError as error:
        raise BadInput(f"Cannot write to {path} ({error.strerror or error}). Choose another path.") from error
