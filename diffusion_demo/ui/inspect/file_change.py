"""Change events of image fields, only when the file changes."""

import gradio as gr


def file_path_in(image: gr.Image) -> gr.Textbox:
    """Return a hidden field with the path of the file in `image`. Its change event fires only when the file changes.

    Gradio 6.31 may fire the change event of an image field whenever it renders the field, which every handler that has
    the field as an input causes.
    """
    path = gr.Textbox(label=f"{image.label}: file", visible="hidden")
    image.change(None, image, path, js="(file) => file ? file.path : ''", api_visibility="private")
    return path
