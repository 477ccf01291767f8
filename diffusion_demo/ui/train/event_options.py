"""Options of event listeners on the Train tab."""

from typing import Any

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
IMMEDIATE: dict[str, Any] = QUIET | {"queue": False}
LATEST: dict[str, Any] = QUIET | {"trigger_mode": "always_last"}
