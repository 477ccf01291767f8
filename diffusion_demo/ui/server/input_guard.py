"""Server-side validation of every API call. Programs can call the endpoints directly, without the page's own checks."""

import sys
import traceback
from pathlib import Path
from typing import Any

import gradio as gr

from diffusion_demo.ui.server.limits import RateLimiter
from diffusion_demo.ui.settings import Settings

INVALID_INPUT = "The server cannot read this input. Reload the page and try again."
INTERNAL_ERROR = "Internal server error. Reload the page and try again."
MAX_CHARACTERS, MAX_ITEMS, MAX_DEPTH = 100_000, 20_000, 12


class GuardedBlocks(gr.Blocks):
    """Blocks with a rate limit that answer invalid input with an error message instead of a traceback."""

    def __init__(self, settings: Settings, **options):
        super().__init__(**options)
        self._rate_limiter, self._public = RateLimiter(settings.calls_a_minute), settings.public

    async def preprocess_data(self, block_fn, inputs, *arguments, **options):
        """Reject oversized inputs, then preprocess as Gradio does. Raises gr.Error for any invalid input."""
        try:
            _check_size(inputs)
            return await super().preprocess_data(block_fn, inputs, *arguments, **options)
        except gr.Error as error:
            error.print_exception = False  # an error of the caller, which does not belong in the log
            raise
        except Exception as error:
            raise gr.Error(INVALID_INPUT, print_exception=False) from error

    async def process_api(self, block_fn, inputs, state=None, request=None, iterator=None, **options):
        """Count the call, then process it as Gradio does. Raises gr.Error for a call that exceeds the rate limit."""
        if iterator is None and request is not None:
            self._rate_limiter.count(request)
        try:
            return await super().process_api(block_fn, inputs, state, request, iterator, **options)
        except (gr.Error, StopAsyncIteration):
            raise
        except Exception as error:
            self._log(error, block_fn)
            raise gr.Error(INTERNAL_ERROR, print_exception=False) from error

    def _log(self, error: Exception, block_fn) -> None:
        """Log an internal error: with its traceback locally, in one line on a public page to keep the log small."""
        if self._public:
            last = traceback.extract_tb(error.__traceback__)[-1]
            name = getattr(block_fn, "name", block_fn)
            location = f"{Path(last.filename).name}:{last.lineno}"
            print(f"Failed: {name} ({type(error).__name__}, {location})", file=sys.stderr, flush=True)
        else:
            traceback.print_exception(error)


def _check_size(inputs: list) -> None:
    """Raise ValueError for strings, lists and nestings larger than any field needs, and for lone surrogates."""
    pending: list[tuple[Any, int]] = [(inputs, 0)]
    count = 0
    while pending:
        value, depth = pending.pop()
        count += 1
        if count > MAX_ITEMS or depth > MAX_DEPTH or (isinstance(value, str) and len(value) > MAX_CHARACTERS):
            raise ValueError("input is too large")
        if isinstance(value, str):
            value.encode()  # a lone surrogate could not be sent back
        if isinstance(value, dict):
            pending += [(item, depth + 1) for pair in value.items() for item in pair]
        elif isinstance(value, list | tuple):
            pending += [(item, depth + 1) for item in value]
