"""Work that ends with its visitor, and after a number of seconds."""

import time
from collections.abc import Callable

from gradio.context import LocalContext

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.settings import settings

PUBLIC_SCAN_SECONDS = 120.0
TOO_LONG = "These images take longer than {:g} seconds to read. Use fewer or smaller images."
VISITOR_LEFT = "The visitor has left."


def cancellation_check() -> Callable[[], None]:
    """Return a function that raises BadInput once the visitor of the current call has left, or canceled it.

    Gradio stops generators when a visitor leaves, but not the threads of other handlers.
    """
    page, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    queue = getattr(page, "_queue", None)
    event = queue.event_ids_to_events.get(event_id) if queue is not None and event_id else None

    def check() -> None:
        if event is not None and not event.alive:
            raise BadInput(VISITOR_LEFT)

    return check


def scan_deadline() -> Callable[[], None]:
    """Return a function to call after each image of a scan. It raises BadInput when the scan has to end."""
    check, started = cancellation_check(), time.monotonic()

    def count() -> None:
        check()
        if settings().public and time.monotonic() - started > PUBLIC_SCAN_SECONDS:
            raise BadInput(TOO_LONG.format(PUBLIC_SCAN_SECONDS))

    return count
