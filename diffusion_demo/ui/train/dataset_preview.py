"""Scan of the images on the Train tab, and a preview of what the network will see of them."""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.paths import pasted_path
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.server import limits, warmup, work
from diffusion_demo.ui.train import fields, uploads

TRANSFORM_FIELDS = ("image_size", "channels", "fit", "background")
NUM_EXAMPLES = 16
MAX_REJECTED = 50  # files listed with a reason


# A report is a diffusion_demo.data.Report or None. It is annotated as Any because diffusion_demo.data imports torch.


def scan_files(files: list[str] | None, class_from: str, *transform: Any, progress=gr.Progress()) -> tuple[Any, Any]:
    """Store and scan uploaded files. Returns the report and its HTML."""
    return _scan(lambda: uploads.store(files), class_from, transform, progress) if files else (None, "")


def scan_synthetic(class_from: str, *transform: Any, progress=gr.Progress()) -> tuple[Any, Any]:
    """Scan the synthetic images. Returns the report and its HTML."""
    return _scan(uploads.synthetic_images, class_from, transform, progress)


def scan_path(path: str, class_from: str, *transform: Any, progress=gr.Progress()) -> tuple[Any, Any]:
    """Scan a folder or zip on this machine. Returns the report and its HTML."""
    if not path.strip():
        return None, ""
    return _scan(lambda: Path(pasted_path(path)).resolve(), class_from, transform, progress)


def rescan(report: Any, class_from: str, *transform: Any, progress=gr.Progress()) -> tuple[Any, Any]:
    """Scan the images of a report again with another source of classes. Returns the new report and its HTML."""
    return _scan(lambda: report.source, class_from, transform, progress) if report else (None, "")


def _scan(get_source: Callable[[], Path], class_from: str, transform: tuple, progress: gr.Progress) -> tuple[Any, Any]:
    limits.check_training_enabled()
    warmup.wait()
    from diffusion_demo import data

    within_budget = work.scan_budget()

    def show_progress(done: int, total: int) -> None:
        within_budget()
        progress((done, total), desc="Reading the images", unit="images")

    with user_errors_as_toasts():
        report = data.scan(get_source(), class_from, progress=show_progress)
    return report, show(report, *transform)


def show(report: Any, *transform: Any) -> Any:
    """Return a report as HTML: examples after the transform, counts, warnings, and rejected files with reasons.

    `transform` has the values of TRANSFORM_FIELDS. Returns gr.skip() if one is invalid, which the form reports.
    """
    if report is None:
        return ""
    from diffusion_demo import data
    from diffusion_demo.images import contact_sheet
    from diffusion_demo.ui.preview.frames import image_data_uri

    try:
        image_transform = data.ImageTransform(**fields.chosen({}, list(TRANSFORM_FIELDS), transform))
    except BadInput:
        return gr.skip()
    examples = image_data_uri(contact_sheet(data.examples(report, NUM_EXAMPLES, image_transform), 8))
    warnings = "".join(f"<li>{html.escape(text)}</li>" for text in report.warnings_for(image_transform))
    return (
        f'<div class="report"><img class="crops" src="{examples}" alt="the images as the network will see them">'
        f"{_counts(report.summary())}"
        f"{f'<ul>{warnings}</ul>' if warnings else ''}"
        f"{_rejected_files(report.rejected)}</div>"
    )


def _counts(summary: dict[str, Any]) -> str:
    counts = f"{summary['images']:,} images; {summary['held_out']:,} set aside for validation"
    classes = ", ".join(f"{html.escape(name)} ({count:,})" for name, count in summary["classes"].items())
    return f"<p><b>{counts}.</b>{f' Classes: {classes}.' if classes else ' No classes.'}</p>"


def _rejected_files(rejected: dict[str, str]) -> str:
    items = "".join(
        f"<li><b>{html.escape(name)}</b>: {html.escape(reason)}</li>"
        for name, reason in list(rejected.items())[:MAX_REJECTED]
    )
    return f"<details><summary>Not usable: {len(rejected):,}</summary><ul>{items}</ul></details>" if items else ""
