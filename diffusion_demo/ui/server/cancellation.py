"""Work that ends with its visitor, and after a number of seconds."""

import time
from collections.abc import Callable

from gradio.context import LocalContext

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.settings import settings

PUBLIC_SCAN_SECONDS = 120.0
TOO_LONG = "These images take longer than {:g} seconds to read. Use fewer or smaller images."
VISITOR_LEFT = "The visitor has left."


def departure_check() -> Callable[[], bool]:
    """Return a function that returns whether the visitor of the current call has left, or canceled it."""
    page, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    queue = getattr(page, "_queue", None)
    event = queue.event_ids_to_events.get(event_id) if queue is not None and event_id else None
    return lambda: event is not None and not event.alive


def scan_deadline() -> Callable[[], None]:
    """Return a function to call after each image of a scan. It raises BadInput when the scan has to end."""
    has_left, started = departure_check(), time.monotonic()

    def count() -> None:
        # Gradio stops generators when a visitor leaves, but not the threads of other handlers.
        if has_left():
            raise BadInput(VISITOR_LEFT)
        if settings().public and time.monotonic() - started > PUBLIC_SCAN_SECONDS:
            raise BadInput(TOO_LONG.format(PUBLIC_SCAN_SECONDS))

    return count
