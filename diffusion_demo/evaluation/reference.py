"""Reference images for the metrics: a scanned data set, or a reference batch of the papers' code."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from diffusion_demo import data
from diffusion_demo.evaluation.npz import is_npz, read_npz


@dataclass(frozen=True, eq=False)
class Reference:
    """Reference images, a scanned data set or a batch uint8 [N, C, H, W], and their summary for reports."""

    source: data.Report | Tensor
    summary: dict[str, Any]

    @property
    def classes(self) -> Counter[str]:
        """Return the number of images of each class; empty for a batch, whose class names are unknown."""
        if isinstance(self.source, Tensor):
            return Counter()
        return Counter(entry.class_name for entry in self.source.entries)

    def __len__(self) -> int:
        return len(self.source) if isinstance(self.source, Tensor) else len(self.source.entries)

    def parts(self, side: int, channels: int) -> tuple[Tensor, Tensor]:
        """Return the training images and the held-out images, uint8 [N, C, H, W].

        Those of a data set are resized to side x side; those of a batch are unchanged, and none of them is held out.
        """
        if isinstance(self.source, Tensor):
            return self.source, self.source[:0]
        training, held_out = (data.load(self.source, side, channels, held_out=part).images for part in (False, True))
        return training, held_out


def load_reference(path: str | Path) -> Reference:
    """Load a folder, a zip or an .npz batch. Raises BadInput if it cannot be read."""
    if is_npz(path):
        images, _ = read_npz(path)
        return Reference(images, {"source": Path(path).name, "pictures": len(images)})
    report = data.scan(path)
    return Reference(report, report.summary())
