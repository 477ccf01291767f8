"""The stage, where one watches images become, and what a run's buttons do."""

import gradio as gr

from diffusion_demo.paths import read_asset


def stage(animation: dict | None, elem_id: str) -> gr.HTML:
    return gr.HTML(
        animation,
        html_template=read_asset("sample/stage.html"),
        js_on_load=read_asset("sample/stage.js"),
        elem_id=elem_id,
        elem_classes="stage-block",
    )


def gallery(files: list, elem_id: str) -> gr.Gallery:
    """Finished images; a click on one opens the viewer (viewer.js), which takes the place of the gallery's own."""
    return gr.Gallery(
        files,
        label="Finished images",
        columns=8,
        object_fit="contain",
        format="png",
        buttons=["download", "fullscreen"],
        interactive=False,
        elem_id=elem_id,
        elem_classes="pictures",
    )


def buttons(*elem_ids: str) -> list[gr.Button]:
    """The buttons that start, of which the first is seen, to be pressed once everything is loaded; and the one that stops.

    Keys find them by their classes (history.js).
    """
    look = {"variant": "primary", "interactive": False, "scale": 3, "min_width": 120, "elem_classes": "starts"}
    starts = [gr.Button("Loading …", visible=elem_id == elem_ids[0], elem_id=elem_id, **look) for elem_id in elem_ids]
    return [*starts, gr.Button("Stop", variant="stop", interactive=False, scale=1, min_width=80, elem_classes="stops")]


def tell(elem_id: str, event: str) -> str:
    """The JavaScript that tells a stage of an event in the browser itself."""
    return (
        f"() => {{ const s = document.querySelector('#{elem_id} .stage'); s.dispatchEvent(new Event('{event}', {{bubbles: true}}));"
        " s.scrollIntoView({block: 'nearest'}) }"
    )


def idle(words: str) -> list:
    """Both buttons when nothing runs."""
    return [gr.Button(words, interactive=True), gr.Button(interactive=False)]


def waiting() -> list:
    """Both when a run has been asked for."""
    return [gr.Button("Waiting …", interactive=False), gr.Button(interactive=True)]


def working() -> list:
    """Both while it runs."""
    return [gr.Button("Working …", interactive=False), gr.Button(interactive=True)]
