"""Background loading of torch, diffusers and the first model, which takes seconds."""

import threading
from contextlib import suppress

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.sampling.request import Request
from diffusion_demo.ui.server import model_list
from diffusion_demo.ui.settings import settings

TIMEOUT_SECONDS = 120
PUBLIC_MAX_FILES, PUBLIC_LABEL_BYTES = 250_000, 5_000_000  # limits of an upload

_ready = threading.Event()
_failure: list[Exception] = []


def start() -> None:
    """Start loading in a thread. Call it after launch(), because imports in the thread would delay the page."""
    threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()


def _warm_up() -> None:
    try:
        from diffusion_demo.data.file_errors import limit_decoding_threads
        from diffusion_demo.data.listing import limit_files
        from diffusion_demo.sampling.generate import last_step, sample
        from diffusion_demo.ui.server.model_cache import load

        limit_decoding_threads(1)
        if settings().public:
            limit_files(PUBLIC_MAX_FILES, PUBLIC_LABEL_BYTES)
        for folder in list(model_list.model_folders().values())[:1]:
            with suppress(BadInput):  # a damaged model is reported when it is used; the other models work
                last_step(sample(load(folder), Request(num_images=1, steps=1)))
    except Exception as error:
        _failure.append(error)
    finally:
        _ready.set()


def wait() -> None:
    """Wait until loading is complete. Raises gr.Error if it fails or takes longer than two minutes."""
    if not _ready.wait(TIMEOUT_SECONDS):
        raise gr.Error("The server is still loading. Try again in a moment.", print_exception=False)
    if _failure:
        raise gr.Error(f"The server failed to start: {_failure[0]}. Restart it.", print_exception=False)
