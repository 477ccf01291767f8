"""Preview of a sampling run, its gallery, and the states of its start and stop buttons."""

from typing import Any, NamedTuple

import gradio as gr

from diffusion_demo.paths import read_asset
from diffusion_demo.ui.sample import words


def preview(animation: dict[str, Any] | None, elem_id: str) -> gr.HTML:
    """Return the component that plays an animation (see `frames.make_animation`)."""
    return gr.HTML(
        animation,
        html_template=read_asset("sample/stage.html"),
        js_on_load=read_asset("sample/stage.js"),
        elem_id=elem_id,
        elem_classes="stage-block",
    )


def gallery(files: list[Any], elem_id: str) -> gr.Gallery:
    """Return the gallery of finished images, which the API returns. The page shows them on the stage (style.css)."""
    return gr.Gallery(
        files,
        label=words.RESULTS,
        format="png",
        interactive=False,
        elem_id=elem_id,
        elem_classes="result-files",
        buttons=[],
    )


class Downloads(NamedTuple):
    """The buttons below the stage."""

    archive: gr.DownloadButton
    sheet: gr.DownloadButton
    animation: gr.DownloadButton
    larger: gr.DownloadButton


def downloads(elem_id: str) -> Downloads:
    """Return the download buttons, which are off until a run is complete."""
    with gr.Row(elem_classes="downloads"):
        return Downloads(
            *(
                gr.DownloadButton(title, interactive=False, size="sm", min_width=130, elem_id=f"{elem_id}{suffix}")
                for title, suffix in (
                    (words.DOWNLOAD_ALL, ""),
                    (words.DOWNLOAD_SHEET, "-sheet"),
                    (words.DOWNLOAD_ANIMATION, "-animation"),
                    (words.DOWNLOAD_LARGER, "-larger"),
                )
            )
        )


def start_stop_buttons(*elem_ids: str) -> list[gr.Button]:
    """Return one start button per id, of which only the first is visible, and the stop button.

    The start buttons are disabled until warm-up is complete. history.js finds the buttons by their classes.
    """
    look: dict[str, Any] = {
        "variant": "primary",
        "interactive": False,
        "scale": 3,
        "min_width": 120,
        "elem_classes": "starts",
    }
    starts = [gr.Button(words.LOADING, visible=elem_id == elem_ids[0], elem_id=elem_id, **look) for elem_id in elem_ids]
    stop = gr.Button(words.STOP, variant="stop", interactive=False, scale=1, min_width=80, elem_classes="stops")
    return [*starts, stop]


def dispatch_event(elem_id: str, event: str) -> str:
    """Return JavaScript that dispatches an event to a preview and scrolls to it."""
    return (
        f"() => {{ const s = document.querySelector('#{elem_id} .stage');"
        f" s.dispatchEvent(new Event('{event}', {{bubbles: true}}));"
        " s.scrollIntoView({block: 'nearest'}) }"
    )


def idle_buttons(label: str) -> dict[str, Any]:
    """Return both buttons, start and stop, as they are without a run."""
    return {"start": gr.Button(label, interactive=True), "stop": gr.Button(interactive=False)}


def starting_buttons(label: str = words.WAITING) -> dict[str, Any]:
    """Return both buttons as they are from the click until the run starts."""
    return {"start": gr.Button(label, interactive=False), "stop": gr.Button(interactive=True)}


def working_buttons() -> dict[str, Any]:
    """Return both buttons as they are during a run."""
    return starting_buttons(words.WORKING)
