"""Options of event listeners."""

from typing import Any

# No endpoint in the API, and no progress overlay.
PRIVATE_EVENT: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# Any number of calls at a time.
UNLIMITED_EVENT: dict[str, Any] = PRIVATE_EVENT | {"concurrency_limit": None}
# Outside the queue, so that buttons react at once.
INSTANT_EVENT: dict[str, Any] = PRIVATE_EVENT | {"queue": False}
# For inputs: without this mode, Gradio drops what is entered while the last call is pending.
LATEST_EVENT: dict[str, Any] = UNLIMITED_EVENT | {"trigger_mode": "always_last"}
INSTANT_LATEST_EVENT: dict[str, Any] = INSTANT_EVENT | {"trigger_mode": "always_last"}
