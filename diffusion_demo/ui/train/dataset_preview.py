"""Scan of the images on the Train tab, and the report on them, with one-click fixes."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.server import cancellation, limits, run_ownership, warmup
from diffusion_demo.ui.server.event_details import ChosenFix, with_details
from diffusion_demo.ui.train import fields, report_view, uploads
from diffusion_demo.ui.train.fixes import fixes_for

TRANSFORM_FIELDS = ("image_size", "channels", "fit", "background")
FIXED_FIELDS = ("image_size", "channels", "fit", "drop_duplicates", "balance_classes")
SHOWN_FIELDS = (
    "start_from",
    *TRANSFORM_FIELDS,
    "drop_duplicates",
    "balance_classes",
)  # that the report depends on
NOTHING = (None, "", "")
UNCHANGED: Any = (gr.skip(), gr.skip(), gr.skip())
_last_sources: OrderedDict[str, Any] = OrderedDict()  # of each browser's images, by the token of its owner
_lock = threading.Lock()
MEASURING = "<p>Measuring the training speed of this machine...</p>"  # until the form has been checked


# A report is a diffusion_demo.data.Report or None. It is annotated as Any because diffusion_demo.data imports torch.


class LatestScan:
    """Which scan of a session was started last. The others end without a result, even if they would end later.

    problem: why the images of the last scan cannot be used, or empty.
    """

    def __init__(self):
        self._number = 0
        self.problem = ""

    def start(self) -> Callable[[], None]:
        """Note the start of a scan, and return a check that raises _Superseded once another one was started."""
        self._number += 1
        self.problem = ""
        own = self._number

        def check() -> None:
            if self._number != own:
                raise _Superseded

        return check


class _Superseded(Exception):
    """Other images have been chosen since this scan was started."""


def scan_files(
    files: list[tuple[str, str]] | None, latest: LatestScan, class_from: str, *values: Any, progress=gr.Progress()
) -> tuple[Any, Any, str]:
    """Store and scan uploaded files, given as (path, name with folders). Returns the report, its HTML and a note."""
    return _scan(lambda: uploads.store(files), latest, class_from, values, progress) if files else NOTHING


def scan_synthetic(latest: LatestScan, class_from: str, *values: Any, progress=gr.Progress()) -> tuple[Any, Any, str]:
    """Scan the synthetic images. Returns the report, its HTML and a note."""
    return _scan(uploads.synthetic_images, latest, class_from, values, progress)


def scan_path(
    path: str, latest: LatestScan, class_from: str, *values: Any, progress=gr.Progress()
) -> tuple[Any, Any, str]:
    """Scan folders or ZIPs on this machine, one on each line. Returns the report, its HTML and a note."""
    lines = [line for line in path.splitlines() if line.strip()]
    return _scan(lambda: _sources(lines), latest, class_from, values, progress) if lines else NOTHING


def _sources(lines: list[str]) -> Path | tuple[Path, ...]:
    from diffusion_demo import data

    sources = data.pasted_sources(lines)
    return sources if len(sources) > 1 else next(iter(sources))


def rescan(
    report: Any, latest: LatestScan, class_from: str, *values: Any, progress=gr.Progress()
) -> tuple[Any, Any, str]:
    """Scan the images of a report again with another source of classes. Returns the new report, its HTML and a note."""
    return _scan(lambda: report.source, latest, class_from, values, progress) if report else NOTHING


def remember(report: Any, owner_token: object) -> None:
    """Remember the images of a report until the browser with this token reloads the page."""
    if report is not None and run_ownership.is_token(owner_token):
        with _lock:
            _last_sources[owner_token] = report.source
            _last_sources.move_to_end(owner_token)
            while len(_last_sources) > run_ownership.MAX_VISITORS:
                _last_sources.popitem(last=False)


def restore(
    owner_token: object, latest: LatestScan, class_from: str, *values: Any, progress=gr.Progress()
) -> tuple[Any, Any, str]:
    """Scan the last images of this browser again after a reload. Returns the report, its HTML and a note.

    Changes nothing if there were none, or they are gone.
    """
    with _lock:
        source = _last_sources.get(owner_token) if run_ownership.is_token(owner_token) else None
    paths = source if isinstance(source, tuple) else (source,) if source else ()
    if not paths or not all(os.path.exists(path) for path in paths):
        return UNCHANGED
    return _scan(lambda: source, latest, class_from, values, progress)


def _scan(
    get_source: Callable[[], Any], latest: LatestScan, class_from: str, values: tuple, progress: gr.Progress
) -> tuple[Any, Any, str]:
    limits.check_training_enabled()
    warmup.wait()
    from diffusion_demo import data

    within_budget, check_latest = cancellation.scan_deadline(), latest.start()

    def show_progress(done: int, total: int) -> None:
        within_budget()
        check_latest()
        progress((done, total), desc="Reading the images", unit="images")

    try:
        with user_errors_as_toasts():
            source = get_source()
            cache = data.ScanCache(uploads.scan_cache(source))
            report = data.scan(source, class_from, progress=show_progress, cache=cache)
        check_latest()
    except _Superseded:
        return UNCHANGED
    except gr.Error as error:
        latest.problem = error.message
        raise
    with suppress(OSError):  # without it, the trainer scans again
        cache.save()
    return report, show(report, *values), MEASURING


def show(report: Any, *values: Any) -> Any:
    """Return a report as HTML. `values` are those of SHOWN_FIELDS.

    Returns gr.skip() if one is invalid, which the form reports.
    """
    if report is None:
        return ""
    from diffusion_demo import data

    chosen: dict[str, Any] = dict(zip(SHOWN_FIELDS, values, strict=True))
    transform = [chosen[name] for name in TRANSFORM_FIELDS]
    try:
        image_transform = data.ImageTransform(**fields.changed_settings({}, list(TRANSFORM_FIELDS), tuple(transform)))
        if chosen["drop_duplicates"]:
            return report_view.render(report.without_duplicates(), image_transform, fixes_for(report, chosen))
    except BadInput:
        return gr.skip()
    return report_view.render(report, image_transform, fixes_for(report, chosen))


@with_details(ChosenFix)
def apply_fix(event: gr.EventData, report: Any, *values: Any) -> list:
    """Apply the fix of the button that was pressed, or undo it. Returns the fields of FIXED_FIELDS.

    `values` are those of SHOWN_FIELDS. The browser names a fix; field and value are those that the report suggests.
    """
    key = event._data.get("fix") if isinstance(event._data, dict) else None
    chosen: dict[str, Any] = dict(zip(SHOWN_FIELDS, values, strict=True))
    fix = next((fix for fix in fixes_for(report, chosen) if fix.key == key), None) if report is not None else None
    if fix is None:
        raise gr.Error("These images no longer have this problem.", print_exception=False)
    return [gr.update(value=fix.new_value) if name == fix.field else gr.skip() for name in FIXED_FIELDS]
