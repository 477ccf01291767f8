"""The report on the scanned images as HTML: crops, sizes, classes, fixes, warnings, and files that were left out."""

import html
from collections.abc import Sequence
from typing import Any

from diffusion_demo.ui.data_uri import jpeg_data_uri
from diffusion_demo.ui.train.fixes import Fix

MAX_REJECTED = 50  # files listed with a reason
MAX_CLASSES = 24  # listed with a count
COLUMNS, ROWS = 8, 3


def render(report: Any, image_transform: Any, fixes: Sequence[Fix]) -> str:
    """Return the report (a data.Report) on images after a transform (a data.ImageTransform)."""
    size = image_transform.image_size
    return (
        '<div class="report">'
        f"{_headline(report.summary())}{_crops(report, image_transform)}"
        f'<p class="caption">Examples as the network will see them, {size} x {size} pixels.</p>'
        f"{_classes(report.classes)}{_fix_buttons(fixes)}"
        f"{_list('warnings', report.warnings_for(image_transform))}"
        f"{_rejected_files(report.rejected)}</div>"
    )


def _crops(report: Any, image_transform: Any) -> str:
    """Return the sheet of examples, in whole rows: a cell without an image would be white on a dark page."""
    from diffusion_demo import data
    from diffusion_demo.images import contact_sheet

    total = report.summary()["images"]
    columns = min(total, COLUMNS)
    sheet = contact_sheet(data.examples(report, min(total // columns, ROWS) * columns, image_transform), columns)
    return (
        f'<img class="crops" style="width: {100 * columns / COLUMNS:g}%" src="{jpeg_data_uri(sheet)}" '
        'alt="Examples, cropped and resized as for training">'
    )


def _headline(summary: dict[str, Any]) -> str:
    sides = summary["shorter_sides"]
    count = summary["images"]
    total = f"{count:,} {'image' if count == 1 else 'images'}"
    facts = [f"<b>{total}</b> ({summary['held_out']:,} set aside for validation)"]
    if sides:
        facts.append(
            f"shorter side {sides['smallest']:,} px"
            if sides["smallest"] == sides["largest"]
            else f"shorter side {sides['smallest']:,} to {sides['largest']:,} px, median {sides['median']:,}"
        )
    if summary["not_square"]:
        facts.append(f"{summary['not_square']:,} not square")
    return f'<p class="counts">{" · ".join(facts)}</p>'


def _classes(classes: dict[str, int]) -> str:
    if not classes:
        return (
            '<p class="classes">No classes found. To add some, put the images of each class in its own subfolder.</p>'
        )
    shown = sorted(classes.items(), key=lambda item: item[0])[:MAX_CLASSES]
    words = ", ".join(f"{html.escape(name)} ({count:,})" for name, count in shown)
    rest = f", and {len(classes) - len(shown):,} more" if len(classes) > len(shown) else ""
    return (
        f'<p class="classes"><b>{len(classes):,} {"class" if len(classes) == 1 else "classes"}:</b> {words}{rest}</p>'
    )


def _fix_buttons(fixes: Sequence[Fix]) -> str:
    buttons = "".join(
        f'<button type="button" data-fix="{fix.key}" aria-pressed="{str(fix.applied).lower()}">'
        f"{html.escape(fix.label)}</button>"
        for fix in fixes
    )
    return f'<p class="fixes">{buttons}</p>' if buttons else ""


def _list(kind: str, texts: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return f'<ul class="{kind}">{items}</ul>' if items else ""


def _rejected_files(rejected: dict[str, str]) -> str:
    items = "".join(
        f"<li><b>{html.escape(name)}</b>: {html.escape(reason)}</li>"
        for name, reason in list(rejected.items())[:MAX_REJECTED]
    )
    return f"<details><summary>Unreadable files: {len(rejected):,}</summary><ul>{items}</ul></details>" if items else ""
