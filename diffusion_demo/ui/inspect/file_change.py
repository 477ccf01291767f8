"""Changes of the file in an image field."""

import gradio as gr


def file_name_in(image: gr.Image) -> gr.Textbox:
    """Return a hidden field that changes when, and only when, another file is put into `image`.

    Gradio 6.31 may report a change whenever it draws an image field, which a handler with that field as input causes.
    """
    name = gr.Textbox(label=f"{image.label}: file", visible="hidden")
    image.change(None, image, name, js="(file) => file ? file.path : ''", api_visibility="private")
    return name
