"""One-click fixes for problems of the images: each sets one field of the form, or sets it back."""

from dataclasses import dataclass
from typing import Any

from diffusion_demo.ui.train import fields
from diffusion_demo.ui.train.budget import NEW_NETWORKS

MIN_SHARE = 0.1  # smallest share of affected images for which a fix is offered
MAX_RATIO = 1.25  # of the sides; beyond it, a crop loses much
MAX_IMBALANCE = 2.0  # of the largest to the smallest class
IMAGE_SIZES = (16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Fix:
    """A button of the report.

    key      names the fix in events of the page
    label    what the button says
    field    the setting that it changes
    value    to this value
    applied  whether the setting has this value already
    """

    key: str
    label: str
    field: str
    value: Any
    applied: bool

    @property
    def new_value(self) -> Any:
        """The value after a click: that of the fix, or the default if it is applied."""
        return fields.DEFAULTS[self.field] if self.applied else self.value


def fixes_for(report: Any, chosen: dict[str, Any]) -> list[Fix]:
    """Return the fixes that the images suggest. `report` is a data.Report, `chosen` the values of the fields."""
    entries, found = report.entries, []

    def add(key: str, label: str, field: str, value: Any) -> None:
        found.append(Fix(key, label, field, value, chosen.get(field) == value))

    if report.copies:
        add("duplicates", f"Drop exact duplicates ({report.copies:,})", "drop_duplicates", True)
    small = sum(entry.side < chosen["image_size"] for entry in entries)
    if small > MIN_SHARE * len(entries) or chosen["image_size"] < fields.DEFAULTS["image_size"]:
        size = _fitting_size(sorted(entry.side for entry in entries))
        if size != fields.DEFAULTS["image_size"]:
            add("size", f"Train at {size} x {size} pixels", "image_size", size)
    if all(entry.gray for entry in entries) and chosen["start_from"] in NEW_NETWORKS:  # others keep their colors
        add("gray", "Train in grayscale", "channels", 1)
    long = sum(max(entry.width, entry.height) > MAX_RATIO * entry.side for entry in entries)
    if long > MIN_SHARE * len(entries):
        add("pad", f"Pad instead of cropping ({long:,} images are far from square)", "fit", "pad")
    counts = report.classes.values()
    if counts and max(counts) > MAX_IMBALANCE * min(counts):
        add("balance", "Draw all classes equally often", "balance_classes", True)
    return found


def _fitting_size(sides: list[int]) -> int:
    """Return the largest size that at least nine tenths of the images reach."""
    side = sides[int(MIN_SHARE * len(sides))]
    return max((size for size in IMAGE_SIZES if size <= side), default=IMAGE_SIZES[0])
