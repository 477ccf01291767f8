"""Checks of the images that a visitor brings. The page imports this module, so torch is imported in the handlers."""

from typing import Any

import gradio as gr

from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.server import warmup


def check_image(path: str | None) -> None:
    """Raise gr.Error for an image that cannot be read."""
    warmup.wait()
    from diffusion_demo.ui.inspect.explorer_data import load_square

    if path:
        with user_errors_as_toasts():
            load_square(path)


def emptied_if_unreadable(path: str | None) -> Any:
    """Return the update of an image field after an error: None, which empties it, if its file cannot be read."""
    from diffusion_demo.ui.inspect.explorer_data import load_square
    from diffusion_demo.ui.inspect.image_file import UnreadableImage

    try:
        if path:
            load_square(path)
    except UnreadableImage:
        return None
    return gr.skip()
