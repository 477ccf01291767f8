"""What a scan found, and what a person should know of it before training."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import median_low

from diffusion_demo.data.preprocess import ImageTransform
from diffusion_demo.data.source import Source, title_of

FEW_IMAGES = 100
UNEQUAL = 10  # times as many images in the largest class as in the smallest
MANY = 0.1  # of all images


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of the source: its label, its class ("" for none), the sha256 of its bytes, its size as it lies there, and
    whether it is gray in content."""

    name: str
    class_name: str
    digest: str
    held_out: bool
    width: int
    height: int
    gray: bool

    @property
    def side(self) -> int:
        """The shorter side: what limits the size that it can be trained at."""
        return min(self.width, self.height)


@dataclass(frozen=True, eq=False)
class Report:
    """The images that can be used, by name; for each file that cannot, the reason; and how many files are called no images.

    Each scan's report is its own: two are never equal, so that a page can tell that it was given another one.
    """

    source: Source
    entries: tuple[Entry, ...]
    rejected: dict[str, str] = field(default_factory=dict)
    ignored: int = 0

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in alphabetical order; none when there are fewer than two."""
        names = sorted({entry.class_name for entry in self.entries} - {""})
        return tuple(names) if len(names) > 1 else ()

    @property
    def classes(self) -> dict[str, int]:
        """How many images each class has."""
        counts = Counter(entry.class_name for entry in self.entries)
        return {name: counts[name] for name in self.class_names}

    @property
    def duplicates(self) -> tuple[tuple[str, ...], ...]:
        """The names of the images that are the same to the byte, group by group."""
        groups: dict[str, list[str]] = {}
        for entry in self.entries:
            groups.setdefault(entry.digest, []).append(entry.name)
        return tuple(tuple(names) for names in groups.values() if len(names) > 1)

    @property
    def copies(self) -> int:
        """How many images could be left out without losing one."""
        return len(self.entries) - len({entry.digest for entry in self.entries})

    def summary(self) -> dict:
        """For the run's config and the model card: decided by the images alone, wherever they lie."""
        sides = [entry.side for entry in self.entries]
        return {
            "source": title_of(self.source),
            "pictures": len(self.entries),
            "held_out": sum(entry.held_out for entry in self.entries),
            "classes": self.classes,
            "rejected": len(self.rejected),
            "shorter_sides": {"smallest": min(sides), "median": median_low(sides), "largest": max(sides)}
            if sides
            else {},
            "not_square": sum(entry.width != entry.height for entry in self.entries),
            "greyscale": sum(entry.gray for entry in self.entries),
            "copies": self.copies,
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """`warnings_for` the usual framing."""
        return self.warnings_for(ImageTransform())

    def warnings_for(self, transform: ImageTransform) -> tuple[str, ...]:
        """A sentence for each thing that will show in a model trained on these images in this framing."""
        return tuple(
            filter(None, (self._few(), self._small(transform), self._unequal(), self._copies(), self._gray(transform)))
        )

    def _few(self) -> str | None:
        training = sum(not entry.held_out for entry in self.entries)
        return (
            f"Only {training} images to train on: expect copies of them rather than new ones."
            if training < FEW_IMAGES
            else None
        )

    def _small(self, transform: ImageTransform) -> str | None:
        small, size = sum(entry.side < transform.image_size for entry in self.entries), transform.image_size
        if small <= MANY * len(self.entries):
            return None
        return f"{small:,} of {len(self.entries):,} images are smaller than {size} pixels and will be blurred: choose a smaller size."

    def _unequal(self) -> str | None:
        classes = self.classes
        if not classes:
            return None
        if len(classes) > len(self.entries) / 2:
            return f"{len(classes):,} classes for {len(self.entries):,} images: look whether these names are classes, or train without."
        largest, smallest = max(classes, key=classes.get), min(classes, key=classes.get)
        if classes[largest] <= UNEQUAL * classes[smallest]:
            return None
        counts = f"{largest} has {classes[largest]:,} images, {smallest} {classes[smallest]:,}"
        return f"The classes are very unequal ({counts}): the small ones will be learned worse, so add to them."

    def _copies(self) -> str | None:
        if self.copies <= MANY * len(self.entries):
            return None
        return f"{self.copies:,} of {len(self.entries):,} images are exact copies of others and will be drawn more often: leave the copies out."

    def _gray(self, transform: ImageTransform) -> str | None:
        if transform.channels == 1 or not all(entry.gray for entry in self.entries):
            return None
        return "All images are gray: with 1 channel instead of 3 they are learned sooner."
