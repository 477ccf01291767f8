"""Handlers that return their updates by name instead of by position."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import wraps
from typing import Any

from gradio.blocks import Block


def with_named_outputs(handler: Callable, outputs: Mapping[str, Block]) -> Callable:
    """Return a handler for Gradio, whose outputs are `outputs.values()`.

    `handler` returns or yields dicts of updates by the names of `outputs`. A component without an update is left alone.
    """

    def by_component(updates: Mapping[str, Any]) -> dict[Block, Any]:
        return {outputs[name]: update for name, update in updates.items()}

    @wraps(handler)
    def returning(*arguments, **named):
        return by_component(handler(*arguments, **named))

    @wraps(handler)
    def yielding(*arguments, **named):
        with closing(handler(*arguments, **named)) as all_updates:
            for updates in all_updates:
                yield by_component(updates)

    return yielding if inspect.isgeneratorfunction(handler) else returning
