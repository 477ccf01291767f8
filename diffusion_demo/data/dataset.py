"""The decoded images of a report, in memory or mapped from a cache file."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from diffusion_demo.data.file_errors import UnreadableFile
from diffusion_demo.data.preprocess import ImageTransform, decode
from diffusion_demo.data.report import Entry, Report
from diffusion_demo.data.source import listed, title_of
from diffusion_demo.errors import BadInput


def cached(
    folder: Path, name: str, key: dict, shape: tuple[int, ...], fill: Callable[[np.ndarray], None]
) -> np.ndarray:
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
        raise BadInput(
            f"Cannot keep the decoded images in {folder} ({error.strerror or error}); choose another folder."
        ) from error
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
        raise BadInput(
            f"The decoded images take {needed / 1e9:.1f} GB, more than {folder} has free; choose another folder."
        )


# To be raised when the same bytes come out as other pixels: what was decoded before is then decoded anew.
DECODER = 1


@dataclass(frozen=True, eq=False)
class ImageTensors:
    """Decoded images: uint8 [N, C, S, S], and class indices int64 [N] (the null class for an image without one)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)


def load(report: Report, image_size: int, channels: int, held_out: bool) -> ImageTensors:
    """The report's training images, or its held-out ones, as center squares in memory."""
    return load_transformed(report, ImageTransform(image_size, channels), held_out)


def load_transformed(
    report: Report, transform: ImageTransform, held_out: bool, cache: Path | None = None
) -> ImageTensors:
    """The report's training images, or its held-out ones, in the order of their names.

    With a `cache` folder they lie there, mapped and not read into memory, and are decoded once for the same images and framing.
    Raises BadInput when an image is no longer what the report says.
    """
    entries = [entry for entry in report.entries if entry.held_out == held_out]
    shape, fill = (len(entries), *transform.shape), partial(_fill, report, entries, transform)
    if cache is not None and entries:
        key = {"decoder": DECODER, "framing": asdict(transform), "pictures": _digest(entries)}
        images = cached(cache, "held_out" if held_out else "training", key, shape, fill)
    else:
        images = np.empty(shape, np.uint8)
        fill(images)
    index = {name: i for i, name in enumerate(report.class_names)}
    labels = torch.tensor([index.get(entry.class_name, len(index)) for entry in entries], dtype=torch.int64)
    return ImageTensors(torch.from_numpy(images), labels)


def examples(report: Report, count: int, transform: ImageTransform | None = None) -> Tensor:
    """At most `count` images from all over the report, exactly as a network will see them: uint8 [N, C, S, S]. Raises BadInput as load does."""
    transform, total = transform or ImageTransform(), len(report.entries)
    chosen = [report.entries[i * total // min(count, total)] for i in range(min(count, total))]
    images = np.empty((len(chosen), *transform.shape), np.uint8)
    _fill(report, chosen, transform, images)
    return torch.from_numpy(images)


def _digest(entries: Sequence[Entry]) -> str:
    return hashlib.sha256("".join(entry.digest for entry in entries).encode()).hexdigest()


def _fill(report: Report, entries: Sequence[Entry], transform: ImageTransform, images: np.ndarray) -> None:
    """Decode each entry's image into its row, whatever order they lie in."""
    rows = {entry.name: row for row, entry in enumerate(entries)}
    with listed(report.source) as listing:
        for member in listing.members:
            if (row := rows.pop(member.label, None)) is None:
                continue
            try:
                data = member.read()
                if hashlib.sha256(data).hexdigest() != entries[row].digest:
                    raise UnreadableFile("It is another image than before; put the old one back, or start again.")
                images[row] = decode(data, transform)
            except UnreadableFile as reason:
                raise BadInput(f"{member.label} has changed since it was looked at: {reason}") from reason
    if rows:
        raise BadInput(
            f"{next(iter(rows))} has disappeared from {title_of(report.source)} since it was looked at; put it back, or start again."
        )
