"""Torch, diffusers and the first model take seconds to load: they do so in the background, after the page is up."""

import threading
from contextlib import suppress

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.server import model_list

WAIT_SECONDS = 120

_ready = threading.Event()
_failure: list[Exception] = []


def start() -> None:
    """Begin to load in a thread of its own; call it after launch(), or the page would wait for it."""
    threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()


def _warm_up() -> None:
    try:
        from diffusion_demo.sampling.generate import last_step, sample
        from diffusion_demo.sampling.request import Request
        from diffusion_demo.ui.server.model_cache import load

        for folder in list(model_list.models().values())[:1]:
            with suppress(BadInput):  # a damaged model says so when it is used; the others work
                last_step(sample(load(folder), Request(num_images=1, steps=1)))
    except Exception as error:
        _failure.append(error)
    finally:
        _ready.set()


def wait() -> None:
    """Return once everything is loaded. Raises a toast when it takes too long, or went wrong."""
    if not _ready.wait(WAIT_SECONDS):
        raise gr.Error("Still loading; try again in a moment.", print_exception=False)
    if _failure:
        raise gr.Error(f"The program could not load: {_failure[0]}", print_exception=False)
