"""The pictures of a report, decoded: all of one part, or a few to show."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffusion_demo.data.cache import cached
from diffusion_demo.data.framing import Framing, decode
from diffusion_demo.data.report import Entry, Report
from diffusion_demo.data.source import listed, title_of
from diffusion_demo.data.unreadable import Unreadable
from diffusion_demo.errors import BadInput

# To be raised when the same bytes come out as other pixels: what was decoded before is then decoded anew.
DECODER = 1


@dataclass(frozen=True, eq=False)
class Pictures:
    """Decoded pictures: uint8 [N, C, S, S], and class indices int64 [N] (the null class for a picture without one)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)


def load(report: Report, image_size: int, channels: int, held_out: bool) -> Pictures:
    """The report's training pictures, or its held-out ones, as centre squares in memory."""
    return load_framed(report, Framing(image_size, channels), held_out)


def load_framed(report: Report, framing: Framing, held_out: bool, cache: Path | None = None) -> Pictures:
    """The report's training pictures, or its held-out ones, in the order of their names.

    With a `cache` folder they lie there, mapped and not read into memory, and are decoded once for the same pictures and framing.
    Raises BadInput when a picture is no longer what the report says.
    """
    entries = [entry for entry in report.entries if entry.held_out == held_out]
    shape, fill = (len(entries), *framing.shape), partial(_fill, report, entries, framing)
    if cache is not None and entries:
        key = {"decoder": DECODER, "framing": asdict(framing), "pictures": _digest(entries)}
        images = cached(cache, "held_out" if held_out else "training", key, shape, fill)
    else:
        images = np.empty(shape, np.uint8)
        fill(images)
    index = {name: i for i, name in enumerate(report.class_names)}
    labels = torch.tensor([index.get(entry.class_name, len(index)) for entry in entries], dtype=torch.int64)
    return Pictures(torch.from_numpy(images), labels)


def examples(report: Report, count: int, framing: Framing | None = None) -> Tensor:
    """At most `count` pictures from all over the report, exactly as a network will see them: uint8 [N, C, S, S]. Raises BadInput as load does."""
    framing, total = framing or Framing(), len(report.entries)
    chosen = [report.entries[i * total // min(count, total)] for i in range(min(count, total))]
    images = np.empty((len(chosen), *framing.shape), np.uint8)
    _fill(report, chosen, framing, images)
    return torch.from_numpy(images)


def _digest(entries: Sequence[Entry]) -> str:
    return hashlib.sha256("".join(entry.digest for entry in entries).encode()).hexdigest()


def _fill(report: Report, entries: Sequence[Entry], framing: Framing, images: np.ndarray) -> None:
    """Decode each entry's picture into its row, whatever order they lie in."""
    rows = {entry.name: row for row, entry in enumerate(entries)}
    with listed(report.source) as listing:
        for member in listing.members:
            if (row := rows.pop(member.label, None)) is None:
                continue
            try:
                data = member.read()
                if hashlib.sha256(data).hexdigest() != entries[row].digest:
                    raise Unreadable("It is another picture than before; put the old one back, or start again.")
                images[row] = decode(data, framing)
            except Unreadable as reason:
                raise BadInput(f"{member.label} has changed since it was looked at: {reason}") from reason
    if rows:
        raise BadInput(f"{next(iter(rows))} has disappeared from {title_of(report.source)} since it was looked at; put it back, or start again.")
