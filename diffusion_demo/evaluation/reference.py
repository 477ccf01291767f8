"""Reference images for the metrics: a scanned data set, or a reference batch of the papers' code."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from diffusion_demo import data
from diffusion_demo.evaluation.frechet import FeatureStatistics
from diffusion_demo.evaluation.npz import is_npz, read_npz, read_statistics


@dataclass(frozen=True)
class Preparation:
    """How images become training images: fit and background as in data.ImageTransform, class_from as in data.scan."""

    fit: str = "crop"
    background: str = "#ffffff"
    class_from: str = "folder"

    def transform(self, side: int, channels: int) -> data.ImageTransform:
        """Return the transform to squares of this side. Raises BadInput for an invalid value."""
        return data.ImageTransform(side, channels, self.fit, self.background)


@dataclass(frozen=True, eq=False)
class Reference:
    """Reference images.

    source       a scanned data set, or a batch uint8 [N, C, H, W]
    summary      its summary for reports
    preparation  how the images of a data set are prepared; a batch is used unchanged
    statistics   statistics of Inception features stored in a batch, by the name of the features: vectors, spatial
    """

    source: data.Report | Tensor
    summary: dict[str, Any]
    preparation: Preparation = Preparation()
    statistics: dict[str, FeatureStatistics] = field(default_factory=dict)

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

        Those of a data set are prepared as for training; those of a batch are unchanged, and none of them is held out.
        """
        if isinstance(self.source, Tensor):
            return self.source, self.source[:0]
        transform = self.preparation.transform(side, channels)
        training, held_out = (data.load_transformed(self.source, transform, part).images for part in (False, True))
        return training, held_out


def load_reference(source: str | Path | Sequence[str | Path], preparation: Preparation = Preparation()) -> Reference:
    """Load folders, zip files or one .npz batch. Raises BadInput if one cannot be read, or an invalid preparation."""
    preparation.transform(1, 1)
    paths = data.pasted_sources(map(str, [source] if isinstance(source, str | Path) else source))
    if len(paths) == 1 and is_npz(paths[0]):
        images, _ = read_npz(paths[0])
        summary = {"source": paths[0].name, "images": len(images)}
        return Reference(images, summary, preparation, read_statistics(paths[0]))
    report = data.scan(paths[0] if len(paths) == 1 else paths, preparation.class_from)
    return Reference(report, report.summary() | asdict(preparation), preparation)
