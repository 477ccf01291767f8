"""The result of a scan, with warnings about the images as training data."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from statistics import median_low
from typing import Any

from diffusion_demo.data.preprocess import ImageTransform, smallest_range
from diffusion_demo.data.source import Source, title_of

MIN_TRAINING_IMAGES = 100
MAX_CLASS_IMBALANCE = 10  # largest class divided by smallest class
MAX_LISTED_SUFFIXES = 8
MAX_LISTED_REASONS = 5
MAX_AFFECTED_SHARE = 0.1  # of all images


def list_suffixes(suffixes: dict[str, int]) -> str:
    """Return the numbers of files by suffix in words, "12 .txt, 3 without a suffix"."""
    shown = list(suffixes.items())[:MAX_LISTED_SUFFIXES]
    words = [f"{count:,} {f'.{suffix}' if suffix else 'without a suffix'}" for suffix, count in shown]
    rest = sum(suffixes.values()) - sum(count for _, count in shown)
    return ", ".join([*words, *([f"{rest:,} others"] if rest else [])])


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of the source.

    name        label of the file
    class_name  class, or "" for none
    digest      SHA-256 of the file
    held_out    whether the image belongs to the held-out part
    width       in pixels, as stored in the file
    height      in pixels, as stored in the file
    gray        whether all pixels are gray
    has_frames  whether it is animated or has several pages, of which the first is used
    has_profile whether its ICC profile gives it other colors than sRGB, to which it is converted
    extremes    lowest and highest value, if it has more than 8 bits
    """

    name: str
    class_name: str
    digest: str
    held_out: bool
    width: int
    height: int
    gray: bool
    has_frames: bool = False
    has_profile: bool = False
    extremes: tuple[float, float] | None = None

    @property
    def side(self) -> int:
        """Shorter side in pixels, which limits the training image size."""
        return min(self.width, self.height)


@dataclass(frozen=True, eq=False)
class Report:
    """The result of a scan.

    source    path, or paths, of the images
    entries   usable images, sorted by name
    rejected  label -> reason, for unusable image files
    ignored   number of files that are not images
    suffixes  number of ignored files by suffix, the most frequent first
    notes     one sentence for each decision about the classes that the user should know

    Reports compare by identity, which tells the page whether it has received a new one.
    """

    source: Source
    entries: tuple[Entry, ...]
    rejected: dict[str, str] = field(default_factory=dict)
    ignored: int = 0
    suffixes: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in alphabetical order, or () if there are fewer than two."""
        names = sorted({entry.class_name for entry in self.entries} - {""})
        return tuple(names) if len(names) > 1 else ()

    @property
    def classes(self) -> dict[str, int]:
        """Number of images of each class."""
        counts = Counter(entry.class_name for entry in self.entries)
        return {name: counts[name] for name in self.class_names}

    @property
    def duplicates(self) -> tuple[tuple[str, ...], ...]:
        """Groups of names of byte-identical images."""
        groups: dict[str, list[str]] = {}
        for entry in self.entries:
            groups.setdefault(entry.digest, []).append(entry.name)
        return tuple(tuple(names) for names in groups.values() if len(names) > 1)

    @property
    def extremes(self) -> tuple[float, float] | None:
        """The lowest and the highest value in all images of more than 8 bits; None if there are none."""
        extremes = [entry.extremes for entry in self.entries if entry.extremes is not None]
        return (min(low for low, _ in extremes), max(high for _, high in extremes)) if extremes else None

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The range of values that becomes 0 to 255 in all images of more than 8 bits; None if there are none."""
        return smallest_range(*self.extremes) if self.extremes else None

    @property
    def copies(self) -> int:
        """Number of images that are byte-identical copies of another one."""
        return len(self.entries) - len({entry.digest for entry in self.entries})

    @property
    def content_digest(self) -> str:
        """SHA-256 over all images and their classes, whatever the names of files and source and their order."""
        return _digest(sorted(_content(entry) for entry in self.entries))

    @property
    def order_digest(self) -> str:
        """SHA-256 over all images and their classes in the order of `entries`, which batches depend on."""
        return _digest(_content(entry) for entry in self.entries)

    def with_held_out(self, digests: Collection[str]) -> "Report":
        """Return this report with exactly the images of these digests held out."""
        return replace(self, entries=tuple(replace(entry, held_out=entry.digest in digests) for entry in self.entries))

    def without_duplicates(self) -> "Report":
        """Return this report with only the first of each group of byte-identical images."""
        first = {entry.digest: entry for entry in reversed(self.entries)}
        return replace(self, entries=tuple(entry for entry in self.entries if first[entry.digest] is entry))

    def summary(self) -> dict[str, Any]:
        """Return a JSON-compatible summary for the run folder and the model card, independent of the source's path."""
        sides = [entry.side for entry in self.entries]
        return {
            "source": title_of(self.source),
            "images": len(self.entries),
            "held_out": sum(entry.held_out for entry in self.entries),
            "classes": self.classes,
            "rejected": len(self.rejected),
            "shorter_sides": {"smallest": min(sides), "median": median_low(sides), "largest": max(sides)}
            if sides
            else {},
            "not_square": sum(entry.width != entry.height for entry in self.entries),
            "grayscale": sum(entry.gray for entry in self.entries),
            "copies": self.copies,
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings for the default transform."""
        return self.warnings_for(ImageTransform())

    def warnings_for(self, transform: ImageTransform) -> tuple[str, ...]:
        """Return one sentence for each property of the images that will harm training with this transform."""
        warnings = (
            *self.notes,
            self._warn_frames(),
            self._warn_profiles(),
            self._warn_values(),
            self._warn_dark(),
            self._warn_ignored(),
            self._warn_few(),
            self._warn_small(transform),
            self._warn_no_class(),
            self._warn_imbalance(),
            self._warn_copies(),
            self._warn_gray(transform),
        )
        return tuple(filter(None, warnings))

    @property
    def rejected_by_reason(self) -> str:
        """The unusable files in words, "3 of 9 files cannot be used. 2 (such as a.png): The file is ...", or ""."""
        if not self.rejected:
            return ""
        examples: dict[str, str] = {}
        for label, reason in self.rejected.items():
            examples.setdefault(reason, label)
        counts = Counter(self.rejected.values()).most_common(MAX_LISTED_REASONS)
        words = [f"{n:,} ({'such as ' if n > 1 else ''}{examples[reason]}): {reason}" for reason, n in counts]
        if rest := len(self.rejected) - sum(n for _, n in counts):
            words.append(f"{rest:,} for other reasons.")
        total = len(self.rejected) + len(self.entries)
        return f"{len(self.rejected):,} of {total:,} files cannot be used. {' '.join(words)}"

    def _warn_frames(self) -> str | None:
        count = sum(entry.has_frames for entry in self.entries)
        if not count:
            return None
        return f"Images that are animated or have several pages: {count:,}. Only the first frame of each is used."

    def _warn_profiles(self) -> str | None:
        count = sum(entry.has_profile for entry in self.entries)
        return f"Images with a color profile: {count:,}. Their colors are converted to sRGB." if count else None

    def _warn_values(self) -> str | None:
        if self.extremes is None:
            return None
        count = sum(entry.extremes is not None for entry in self.entries)
        (low, high), (black, white) = self.extremes, smallest_range(*self.extremes)
        return (
            f"Images of more than 8 bits: {count:,}, with values from {low:g} to {high:g}. "
            f"In all of them {black:g} becomes black and {white:g} white."
        )

    def _warn_dark(self) -> str | None:
        if self.value_range is None or self.value_range[1] <= 255:
            return None
        count = sum(0 < entry.extremes[1] <= 1 for entry in self.entries if entry.extremes is not None)
        return (
            f"Images of more than 8 bits with no value above 1, which appear black beside the others: {count:,}. "
            "Save all images with the same range of values."
            if count
            else None
        )

    def _warn_ignored(self) -> str | None:
        return f"Ignored, because they are not images: {list_suffixes(self.suffixes)}." if self.suffixes else None

    def _warn_few(self) -> str | None:
        training = sum(not entry.held_out for entry in self.entries)
        if training >= MIN_TRAINING_IMAGES:
            return None
        images = f"{training} image{'s' * (training != 1)}"
        return f"Only {images} to train on. The model will mostly reproduce them; add more images."

    def _warn_small(self, transform: ImageTransform) -> str | None:
        small, size = sum(entry.side < transform.image_size for entry in self.entries), transform.image_size
        if small <= MAX_AFFECTED_SHARE * len(self.entries):
            return None
        return (
            f"{small:,} of {len(self.entries):,} images are smaller than {size} pixels and will be blurred. "
            "Choose a smaller image size."
        )

    def _warn_no_class(self) -> str | None:
        count = sum(not entry.class_name for entry in self.entries) if self.class_names else 0
        if not count:
            return None
        return f"Images without a class: {count:,} of {len(self.entries):,}. They are used without one."

    def _warn_imbalance(self) -> str | None:
        classes = self.classes
        if not classes:
            return None
        if len(classes) > len(self.entries) / 2:
            return (
                f"{len(classes):,} classes for {len(self.entries):,} images. "
                "Check whether these names are classes, or train without classes."
            )
        largest, smallest = max(classes, key=classes.__getitem__), min(classes, key=classes.__getitem__)
        if classes[largest] <= MAX_CLASS_IMBALANCE * classes[smallest]:
            return None
        counts = f"{largest} has {classes[largest]:,} images, {smallest} has {classes[smallest]:,}"
        return f"The classes are imbalanced ({counts}). Small classes will look worse; add images to them."

    def _warn_copies(self) -> str | None:
        if self.copies <= MAX_AFFECTED_SHARE * len(self.entries):
            return None
        return (
            f"{self.copies:,} of {len(self.entries):,} images are exact copies of others, "
            "which the model will generate more often. Remove the copies."
        )

    def _warn_gray(self, transform: ImageTransform) -> str | None:
        if transform.channels == 1 or not all(entry.gray for entry in self.entries):
            return None
        return "All images are grayscale. A new model learns faster on one channel (grayscale) than on three."


def _content(entry: Entry) -> str:
    return json.dumps([entry.digest, entry.class_name])


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
