"""Limits of Gradio's queue: calls per visitor and address, and cancellation of calls that nobody listens to.

Gradio's queue is shared by all callers. It keeps calls and results until somebody fetches them, and drops them only
when a listener leaves. A caller that never listens would fill it for everybody.
"""

import asyncio
import html
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gradio.queueing import Event, Queue
from gradio.routes import App
from starlette.exceptions import HTTPException

from diffusion_demo.ui.server.fair_order import sort_fairly
from diffusion_demo.ui.server.visitors import address_of

MAX_CALLS = 32  # waiting and running, of one visitor; the page sends about a dozen when it opens
MAX_UNCOLLECTED = 32  # sessions of one visitor whose results nobody fetches; Gradio keeps 2,000 sessions of all
GRACE_SECONDS = 30.0  # after the last call, in which the caller has to fetch the results
SWEEP_SECONDS = 1.0
TOO_MANY = "You have too many requests at once. Wait for them to end."
FULL = "The server is busy. Try again in a minute."

_listening: Counter[str] = Counter()  # open streams by session hash or event, which the middleware counts


@contextmanager
def count_listener(key: str) -> Iterator[None]:
    """Count a stream of results while it is open. `key` is a session hash or an event."""
    _listening[key] += 1
    try:
        yield
    finally:
        _listening[key] -= 1
        if not _listening[key]:
            del _listening[key]


_guards: list["QueueGuard"] = []  # of the page that is served


def is_known(key: str) -> bool:
    """Return whether a session or call exists. Gradio itself would log a traceback for an unknown one."""
    return not _guards or _guards[-1].knows(key)


def as_text(message: Any) -> str:
    """Return a message escaped so that Gradio's toasts show it as plain text."""
    return html.escape(str(message), quote=False)


def _sender(call: Event) -> tuple[str, str]:
    """Return the visitor and the address of a call."""
    return call.request.scope.get("visitor", ""), address_of(call.request)


class _Iterators(dict):
    """The running generators of a page by event, each of which may be removed twice.

    Gradio 6.31 looks up an event that ends and is canceled at the same time twice before it removes it under a lock.
    The second removal would answer the cancellation with an error.
    """

    def __delitem__(self, event_id: str) -> None:
        self.pop(event_id, None)


class QueueGuard:
    """Puts the limits in front of a queue, whose `push` it replaces."""

    def __init__(self, queue: Queue):
        self._queue, self._push, self._sweeper = queue, queue.push, None
        self._log_message, self._set_server_app = queue.log_message, queue.set_server_app
        self._unheard_since: dict[str, float] = {}  # when a session was first seen without a listener
        self._visitors: dict[str, str] = {}  # of the sessions whose results Gradio keeps
        queue.log_message, queue.set_server_app = self.log_message, self.set_server_app
        queue.push = self.push  # pyright: ignore[reportAttributeAccessIssue]
        _guards[:] = [self]

    def set_server_app(self, app: App) -> None:
        """Set the app of the queue as Gradio does, with generators that may be removed twice."""
        app.iterators = _Iterators(app.iterators)
        self._set_server_app(app)

    async def push(self, body: Any, request: Any, username: str | None) -> tuple:
        """Add a call as Gradio does. Raises HTTPException if its visitor or address has too many."""
        self._sweeper = self._sweeper or asyncio.create_task(self._sweep_forever())
        visitor, address = request.scope.get("visitor", ""), address_of(request)
        if sum(call.request.scope.get("visitor") == visitor for call in self._calls()) >= MAX_CALLS:
            raise HTTPException(429, TOO_MANY)
        if body.session_hash not in self._visitors and self._uncollected(visitor) >= MAX_UNCOLLECTED:
            raise HTTPException(429, TOO_MANY)
        waiting = sum(address_of(call.request) == address for call in self._waiting())
        if self._queue.max_size is not None and waiting >= self._queue.max_size / 2:
            raise HTTPException(429, FULL)
        pushed = await self._push(body, request, username)
        self._visitors[body.session_hash] = visitor
        self._unheard_since.pop(body.session_hash, None)  # its caller has yet to open the stream
        for queue in self._queue.event_queue_per_concurrency_id.values():
            sort_fairly(queue.queue, _sender)
        return pushed

    def _uncollected(self, visitor: str) -> int:
        """Return the number of sessions of a visitor with messages that nobody fetches."""
        kept = self._queue.pending_messages_per_session
        sessions = [session for session, owner in self._visitors.items() if owner == visitor and session in kept]
        return sum(not kept[session].empty() and self._unheard(session) for session in sessions)

    def log_message(self, event_id: str, log: str, *arguments: Any, **options: Any) -> None:
        """Show a toast as Gradio does, as text: it may contain what a visitor sent."""
        self._log_message(event_id, as_text(log), *arguments, **options)

    def _waiting(self) -> Iterator[Event]:
        for queue in list(self._queue.event_queue_per_concurrency_id.values()):
            yield from list(queue.queue)

    def _calls(self) -> Iterator[Event]:
        yield from self._waiting()
        for jobs in list(self._queue.active_jobs):
            yield from jobs or ()

    async def _sweep_forever(self) -> None:
        while not self._queue.stopped:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            kept = self._queue.pending_messages_per_session
            self._visitors = {session: owner for session, owner in self._visitors.items() if session in kept}
            unheard = [session for session in list(self._queue.pending_messages_per_session) if self._unheard(session)]
            self._unheard_since = {session: self._unheard_since.get(session, now) for session in unheard}
            for session, first in list(self._unheard_since.items()):
                if now - first > GRACE_SECONDS:
                    await self._drop(session)

    def _unheard(self, session: str) -> bool:
        """Return whether nobody listens to a session, or to one of its calls."""
        calls = self._queue.pending_event_ids_session.get(session, set())
        return not any(key in _listening for key in (session, *calls))

    def knows(self, key: str) -> bool:
        """Return whether there is a session with this hash, or a call of this name, whose results can be fetched."""
        sessions = self._queue.pending_messages_per_session
        return key in sessions or any(key in calls for calls in list(self._queue.pending_event_ids_session.values()))

    async def _drop(self, session: str) -> None:
        """Cancel the calls of a session, and forget its results."""
        await self._queue.clean_events(session_hash=session)
        for event_id in self._queue.pending_event_ids_session.pop(session, set()):
            self._queue.event_ids_to_events.pop(event_id, None)
        self._queue.pending_messages_per_session.pop(session, None)
