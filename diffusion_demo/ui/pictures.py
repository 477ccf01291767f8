"""What was dropped on the Train tab, looked at before anything is trained on it."""

import html
from collections.abc import Callable
from pathlib import Path

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.ui import uploads, warmup


def look_at_files(files: list[str] | None, progress=gr.Progress()):
    return _look(lambda: uploads.keep(files), progress) if files else (None, "")


def look_at_drawn(progress=gr.Progress()):
    return _look(uploads.drawn, progress)


def look_at_path(path: str, progress=gr.Progress()):
    return _look(lambda: Path(path.strip()).expanduser().resolve(), progress) if path.strip() else (None, "")


def _look(find: Callable[[], Path], progress: gr.Progress):
    """Where the pictures lie, and the report of what they are."""
    warmup.wait()
    from diffusion_demo import data

    try:
        source = find()
        found = data.scan(source, progress=lambda done, total: progress((done, total), desc="Looking at the pictures", unit="pictures"))
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error
    return str(source), _report(found)


def _report(found) -> str:
    """What was found, as the page shows it: the very crops that the network will see, counts, warnings, and rejects with their reasons."""
    from diffusion_demo import data
    from diffusion_demo.images import contact_sheet
    from diffusion_demo.ui.film import sheet_uri

    summary = found.summary()
    shown = data.examples(found, 16)
    classes = ", ".join(f"{html.escape(name)} ({count:,})" for name, count in summary["classes"].items())
    facts = [f"{summary['pictures']:,} pictures", f"{summary['held_out']:,} held out to measure on"]
    warnings = "".join(f"<li>{html.escape(words)}</li>" for words in found.warnings)
    rejects = "".join(f"<li><b>{html.escape(name)}</b>: {html.escape(reason)}</li>" for name, reason in list(found.rejected.items())[:50])
    return (
        f'<div class="report"><img class="crops" src="{sheet_uri(contact_sheet(shown, 8))}" alt="the pictures as the network will see them">'
        f"<p><b>{'; '.join(facts)}.</b>{f' Classes: {classes}.' if classes else ' No classes.'}</p>"
        + (f"<ul>{warnings}</ul>" if warnings else "")
        + (f"<details><summary>Not usable: {len(found.rejected):,}</summary><ul>{rejects}</ul></details>" if rejects else "")
        + "</div>"
    )
