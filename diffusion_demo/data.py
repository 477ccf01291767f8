"""A folder or zip of pictures -> a report, a held-out split, and the decoded pictures of both parts.

The class of a picture is the name of the folder it lies in; pictures at the top have none.
"""

import hashlib
import io
import lzma
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from diffusion_demo.errors import BadInput

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
FORMATS = ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"]
MAX_FILE_BYTES = 100_000_000
MIN_SIZE = 8
MIN_PICTURES_TO_HOLD_OUT = 20
# What Pillow and zipfile raise for damaged, encrypted, oversized or otherwise unreadable pictures.
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    RuntimeError,
    EOFError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    Image.DecompressionBombError,
)

Image.MAX_IMAGE_PIXELS = 100_000_000


@dataclass(frozen=True)
class Entry:
    """One picture of the source: its path inside it, its class folder ("" at the top), and the sha256 of its bytes."""

    name: str
    class_name: str
    digest: str
    held_out: bool


@dataclass(frozen=True)
class Report:
    """What a scan found: the pictures that can be used, and for each that cannot the reason."""

    source: Path
    entries: tuple[Entry, ...]
    rejected: dict[str, str] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class folders in alphabetical order; none when there are fewer than two."""
        names = sorted({entry.class_name for entry in self.entries} - {""})
        return tuple(names) if len(names) > 1 else ()

    def summary(self) -> dict:
        """Counts for the run's config and the model card."""
        counts = Counter(entry.class_name for entry in self.entries)
        held_out = sum(entry.held_out for entry in self.entries)
        return {
            "source": self.source.name,
            "pictures": len(self.entries),
            "held_out": held_out,
            "classes": {name: counts[name] for name in self.class_names},
            "rejected": len(self.rejected),
        }


@dataclass(frozen=True, eq=False)
class Pictures:
    """Decoded pictures: uint8 [N, C, S, S], and class indices int64 [N] (the null class for a picture without one)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)


def scan(source: str | Path) -> Report:
    """Read every picture of a folder or zip once. Raises BadInput when there is nothing to train on."""
    source = Path(source)
    entries, rejected = [], {}
    for name, read in _files(source):
        try:
            data = read()
            decode(data, MIN_SIZE, channels=3)
        except UNREADABLE as error:
            rejected[name] = str(error) or type(error).__name__
            continue
        digest = hashlib.sha256(data).hexdigest()
        entries.append(Entry(name, PurePosixPath(name).parent.name, digest, int(digest, 16) % 10 == 0))
    if not entries:
        raise BadInput(f"{source} holds no pictures that can be read ({', '.join(sorted(s[1:] for s in SUFFIXES))}).")
    if len(entries) < MIN_PICTURES_TO_HOLD_OUT:
        entries = [replace(entry, held_out=False) for entry in entries]
    return Report(source, tuple(sorted(entries, key=lambda e: e.name)), rejected)


def load(report: Report, image_size: int, channels: int, held_out: bool) -> Pictures:
    """Decode the report's training pictures, or its held-out ones, to squares of image_size: the centre of the picture, scaled."""
    wanted = {e.name: e for e in report.entries if e.held_out == held_out}
    decoded = {name: decode(read(), image_size, channels) for name, read in _files(report.source) if name in wanted}
    index = {name: i for i, name in enumerate(report.class_names)}
    names = sorted(decoded)
    images = torch.from_numpy(np.stack([decoded[n] for n in names])) if names else torch.empty(0, channels, image_size, image_size, dtype=torch.uint8)
    return Pictures(images, torch.tensor([index.get(wanted[n].class_name, len(index)) for n in names], dtype=torch.int64))


def decode(data: bytes, image_size: int, channels: int) -> np.ndarray:
    """One picture's bytes -> uint8 [C, S, S]: turned as its EXIF says, transparency on white, centre square, scaled."""
    with _open(data) as image:
        image.load()
        with suppress(*UNREADABLE):  # a broken EXIF block says nothing of the picture
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = ImageOps.fit(image.convert("RGB" if channels == 3 else "L"), (image_size, image_size), Image.Resampling.LANCZOS)
        pixels = np.asarray(image)
    return np.ascontiguousarray(pixels.reshape(image_size, image_size, channels).transpose(2, 0, 1))


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _files(source: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The name of every picture inside, and how to read it; reading raises one of UNREADABLE."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if _is_picture(name := path.relative_to(source).as_posix()) and path.is_file():
                yield name, partial(_read_file, path)
    elif zipfile.is_zipfile(source):
        try:
            archive = zipfile.ZipFile(source)
        except zipfile.BadZipFile as error:
            raise BadInput(f"{source} is a damaged zip file ({error}); make it again.") from error
        with archive:
            for info in archive.infolist():
                if not info.is_dir() and _is_picture(info.filename):
                    yield info.filename, partial(_read_member, archive, info)
    else:
        raise BadInput(f"{source} is neither a folder nor a zip file of pictures." if source.exists() else f"There is nothing at {source}.")


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return _read(file)


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        return _read(file)


def _read(file: IO[bytes]) -> bytes:
    data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise OSError(f"larger than {MAX_FILE_BYTES // 1_000_000} MB")
    return data


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden
