"""Conversion of user errors to Gradio errors."""

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from diffusion_demo.errors import BadInput


@contextmanager
def user_errors_as_toasts() -> Iterator[None]:
    """Convert BadInput to gr.Error, which Gradio shows as a toast, without a traceback in the log."""
    try:
        yield
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error
