"""Decoded images of a report, in memory or memory-mapped from a cache file."""

import hashlib
import json
import os
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from diffusion_demo.atomic import atomic_path, atomic_write
from diffusion_demo.data.file_errors import UnreadableFile
from diffusion_demo.data.file_threads import map_files
from diffusion_demo.data.listing import SourceFile
from diffusion_demo.data.preprocess import ImageTransform, decode
from diffusion_demo.data.report import Entry, Report
from diffusion_demo.data.source import open_source, title_of
from diffusion_demo.errors import BadInput


def load_or_fill_cache(
    folder: Path,
    name: str,
    key: dict[str, Any],
    shape: tuple[int, ...],
    fill: Callable[[np.ndarray], None],
    others: Iterable[Path] = (),
) -> np.ndarray:
    """Map the uint8 array of `shape` from NAME.npy, after filling and writing it unless NAME.json contains `key`.

    An array with this key in one of the folders `others` is linked instead of filled. The mapping is read-only, so that
    an array larger than the memory can be mapped. Raises BadInput if the disk is full or not writable.
    """
    array_file, key_file = folder / f"{name}.npy", folder / f"{name}.json"
    if (array := _load_cache(array_file, key_file, key, shape)) is not None:
        return array
    try:
        folder.mkdir(parents=True, exist_ok=True)
        key_file.unlink(missing_ok=True)  # the old key must never stand beside the new array
        if not _link_array(array_file, key, shape, others):
            _check_disk_space(folder, int(np.prod(shape)))
            with atomic_path(array_file) as temporary:
                array = open_memmap(temporary, "w+", np.uint8, shape)
                fill(array)
                array.flush()
                del array
        atomic_write(key_file, json.dumps(key))
        return open_memmap(array_file, "r")
    except OSError as error:
        raise BadInput(
            f"Cannot write the decoded images to {folder} ({error.strerror or error}). Choose another folder."
        ) from error


def _load_cache(array_file: Path, key_file: Path, key: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        if json.loads(key_file.read_text(encoding="utf-8")) != key:
            return None
        array = open_memmap(array_file, "r")
    except (OSError, ValueError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


def _link_array(array_file: Path, key: dict[str, Any], shape: tuple[int, ...], others: Iterable[Path]) -> bool:
    """Make a hard link to the array with this key in one of the folders, and return whether there is one."""
    for folder in others:
        other_file = folder / array_file.name
        if _load_cache(other_file, other_file.with_suffix(".json"), key, shape) is not None:
            with suppress(OSError), atomic_path(array_file) as temporary:  # some file systems have no links
                os.link(other_file, temporary)
                return True
    return False


def _check_disk_space(folder: Path, num_bytes: int) -> None:
    # Writing to a memory-mapped file on a full disk does not raise, it kills the process.
    if shutil.disk_usage(folder).free < num_bytes + (1 << 20):
        raise BadInput(
            f"The decoded images need {num_bytes / 1e9:.1f} GB, more than is free in {folder}. Choose another folder."
        )


# Increase when decoding gives other pixels for the same bytes: caches of another version are rebuilt.
DECODER_VERSION = 4


@dataclass(frozen=True, eq=False)
class ImageTensors:
    """Decoded images, uint8 [N, C, S, S], and class indices, int64 [N].

    An image without a class has the null class, whose index is the number of classes.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)


def load(report: Report, image_size: int, channels: int, held_out: bool) -> ImageTensors:
    """Load the training or the held-out images of a report into memory, cropped to their center squares.

    Raises BadInput if an image has changed since the scan.
    """
    return load_transformed(report, ImageTransform(image_size, channels), held_out)


def load_transformed(
    report: Report,
    transform: ImageTransform,
    held_out: bool,
    cache: Path | None = None,
    other_caches: Iterable[Path] = (),
) -> ImageTensors:
    """Load the training or the held-out images of a report, in the order of their names.

    With a `cache` folder, the images are memory-mapped from it, and decoded only if neither it nor one of the
    `other_caches` has the same images with the same transform; they must not be written to. Raises BadInput if an image
    has changed since the scan, or the cache cannot be written.
    """
    entries = [entry for entry in report.entries if entry.held_out == held_out]
    shape, fill = (len(entries), *transform.shape), partial(_fill, report, entries, transform)
    if cache is not None and entries:
        key = {"decoder": DECODER_VERSION, "transform": asdict(transform), "images": _digest(entries)}
        key |= {"value_range": report.value_range and list(report.value_range)}
        name = "held_out" if held_out else "training"
        images = load_or_fill_cache(cache, name, key, shape, fill, other_caches)
    else:
        images = np.empty(shape, np.uint8)
        fill(images)
    class_index = {name: i for i, name in enumerate(report.class_names)}
    null_class = len(class_index)
    labels = torch.tensor([class_index.get(entry.class_name, null_class) for entry in entries], dtype=torch.int64)
    return ImageTensors(_as_tensor(images), labels)


def _as_tensor(images: np.ndarray) -> Tensor:
    with warnings.catch_warnings():  # torch has no read-only tensors and warns; nothing writes to the images
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(images)


def examples(report: Report, count: int, transform: ImageTransform | None = None) -> Tensor:
    """Load at most `count` images, evenly spaced over the report and transformed as for training, uint8 [N, C, S, S].

    Raises BadInput if an image has changed since the scan.
    """
    transform, total = transform or ImageTransform(), len(report.entries)
    count = min(count, total)
    entries = [report.entries[i * total // count] for i in range(count)]
    images = np.empty((len(entries), *transform.shape), np.uint8)
    _fill(report, entries, transform, images)
    return torch.from_numpy(images)


def _digest(entries: Sequence[Entry]) -> str:
    return hashlib.sha256("".join(entry.digest for entry in entries).encode()).hexdigest()


def _fill(report: Report, entries: Sequence[Entry], transform: ImageTransform, images: np.ndarray) -> None:
    """Decode the image of each entry into its row of `images`, on all cores."""
    rows, value_range = {entry.name: row for row, entry in enumerate(entries)}, report.value_range

    def fill_row(member: SourceFile) -> None:
        row = rows[member.label]
        try:
            data = member.read()
            if hashlib.sha256(data).hexdigest() != entries[row].digest:
                raise UnreadableFile("Its content is different. Restore the original image, or start again.")
            images[row] = decode(data, transform, value_range)
        except UnreadableFile as error:
            raise BadInput(f"{member.label} has changed since the scan. {error}") from error

    with open_source(report.source) as listing:
        members = [member for member in listing.members if member.label in rows]
        deque(map_files(fill_row, members), maxlen=0)
    if len(members) < len(rows):
        missing = next(iter(rows.keys() - {member.label for member in members}))
        raise BadInput(
            f"{missing} was removed from {title_of(report.source)} after the scan. Restore it, or start again."
        )
