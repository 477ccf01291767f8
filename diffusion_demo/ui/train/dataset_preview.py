"""What was dropped on the Train tab, looked at before anything is trained on it."""

import html
from pathlib import Path

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.server import limits, warmup
from diffusion_demo.ui.train import fields, uploads

FRAMING = ("image_size", "channels", "fit", "background")  # the settings that decide what the network sees of an image


def scan_files(files: list[str] | None, class_from: str, *transform, progress=gr.Progress()):
    return _look(lambda: uploads.keep(files), class_from, transform, progress) if files else (None, "")


def scan_synthetic(class_from: str, *transform, progress=gr.Progress()):
    return _look(uploads.drawn, class_from, transform, progress)


def scan_path(path: str, class_from: str, *transform, progress=gr.Progress()):
    return (
        _look(lambda: Path(path.strip()).expanduser().resolve(), class_from, transform, progress)
        if path.strip()
        else (None, "")
    )


def rescan(found, class_from: str, *transform, progress=gr.Progress()):
    """The same images with classes from elsewhere."""
    return _look(lambda: found.source, class_from, transform, progress) if found else (None, "")


def _look(find, class_from: str, transform: tuple, progress: gr.Progress):
    """The report of the images, and how it is shown."""
    limits.check_training_is_on()
    warmup.wait()
    from diffusion_demo import data

    try:
        found = data.scan(
            find(),
            class_from,
            progress=lambda done, total: progress((done, total), desc="Looking at the images", unit="images"),
        )
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error
    return found, show(found, *transform)


def show(found, *transform):
    """What was found, as the page shows it: the very crops that the network will see, counts, warnings, and rejects with their reasons."""
    if found is None:
        return ""
    from diffusion_demo import data
    from diffusion_demo.images import contact_sheet
    from diffusion_demo.ui.preview.frames import image_data_uri

    try:
        seen = data.ImageTransform(**fields.chosen({}, list(FRAMING), transform))
    except BadInput:
        return gr.skip()  # the form says it, at the field
    summary = found.summary()
    shown = data.examples(found, 16, seen)
    classes = ", ".join(f"{html.escape(name)} ({count:,})" for name, count in summary["classes"].items())
    facts = [f"{summary['pictures']:,} images", f"{summary['held_out']:,} held out to measure on"]
    warnings = "".join(f"<li>{html.escape(words)}</li>" for words in found.warnings_for(seen))
    rejects = "".join(
        f"<li><b>{html.escape(name)}</b>: {html.escape(reason)}</li>"
        for name, reason in list(found.rejected.items())[:50]
    )
    return (
        f'<div class="report"><img class="crops" src="{image_data_uri(contact_sheet(shown, 8))}" alt="the images as the network will see them">'
        f"<p><b>{'; '.join(facts)}.</b>{f' Classes: {classes}.' if classes else ' No classes.'}</p>"
        + (f"<ul>{warnings}</ul>" if warnings else "")
        + (
            f"<details><summary>Not usable: {len(found.rejected):,}</summary><ul>{rejects}</ul></details>"
            if rejects
            else ""
        )
        + "</div>"
    )
