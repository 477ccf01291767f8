"""What samples are compared with: the training and the held-out images of a data set, or a reference batch of the papers' code."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from diffusion_demo import data
from diffusion_demo.evaluation.npz import is_npz, read_npz


@dataclass(frozen=True, eq=False)
class Reference:
    """Where the images lie: a scanned data set, or a batch uint8 [N, C, H, W]; and for the report what it is."""

    source: data.Report | Tensor
    summary: dict

    @property
    def classes(self) -> Counter[str]:
        """How many images there are of each class, as far as that is known."""
        return (
            Counter() if isinstance(self.source, Tensor) else Counter(entry.class_name for entry in self.source.entries)
        )

    def __len__(self) -> int:
        return len(self.source) if isinstance(self.source, Tensor) else len(self.source.entries)

    def parts(self, side: int, channels: int) -> tuple[Tensor, Tensor]:
        """The training images and the held-out ones, uint8 [N, C, H, W]: a data set's as squares of that side, a batch's as they are.

        Nothing of a batch is held out.
        """
        if isinstance(self.source, Tensor):
            return self.source, self.source[:0]
        training, held_out = (data.load(self.source, side, channels, held_out=part).images for part in (False, True))
        return training, held_out


def reference_at(path: str | Path) -> Reference:
    """A folder, a zip or an .npz batch. Raises BadInput when it cannot be read."""
    if is_npz(path):
        images, _ = read_npz(path)
        return Reference(images, {"source": Path(path).name, "pictures": len(images)})
    found = data.scan(path)
    return Reference(found, found.summary())
