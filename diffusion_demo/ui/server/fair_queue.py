"""Fair queue: one request uses the network at a time, round-robin across visitors and addresses."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import Any, NamedTuple

import gradio as gr
from gradio.context import LocalContext

from diffusion_demo.ui.server.cancellation import departure_check
from diffusion_demo.ui.server.fair_order import sort_fairly
from diffusion_demo.ui.server.visitors import address_of, visitor_of
from diffusion_demo.ui.settings import settings

MAX_PER_VISITOR = 2  # waiting and running requests
POLL_SECONDS = 1.0


class _Ticket(NamedTuple):
    key: object
    visitor: str
    address: str
    has_left: Callable[[], bool]


class FairQueue:
    """A queue that runs one request at a time, in the order of `sort_fairly`.

    At most `max_waiting` requests wait, and at most half of them may come from one address.
    """

    def __init__(self, max_waiting: int):
        self.max_waiting, self._changed = max_waiting, threading.Condition()
        self._tickets: list[_Ticket] = []  # in the order in which they are served; the first may be running
        self._running: _Ticket | None = None

    @contextmanager
    def ticket(
        self, visitor: str, address: str, has_left: Callable[[], bool] = lambda: False
    ) -> Iterator[Iterator[int]]:
        """Enter the queue, and leave it at the end of the block.

        A request whose visitor `has_left` keeps its place until its work ends, but not its share.

        Yields an iterator over the number of requests ahead, updated every second. It ends when it is this request's
        turn, so exhaust it before doing the work. Raises gr.Error if the queue or the visitor's share of it is full.
        """
        ticket = _Ticket(object(), visitor, address, has_left)
        with self._changed:
            self._check_capacity(visitor, address)
            self._tickets.append(ticket)
            sort_fairly(self._tickets, lambda ticket: (ticket.visitor, ticket.address))
        try:
            yield self._wait(ticket)
        finally:
            with self._changed:
                self._tickets.remove(ticket)
                if self._running is ticket:
                    self._running = None
                self._changed.notify_all()

    def _check_capacity(self, visitor: str, address: str) -> None:
        if sum(ticket.visitor == visitor and not ticket.has_left() for ticket in self._tickets) >= MAX_PER_VISITOR:
            raise gr.Error("Your previous images are not finished. Wait for them or press Stop.", print_exception=False)
        waiting = len(self._tickets) - (self._running is not None)
        of_address = sum(ticket.address == address for ticket in self._tickets)
        if waiting >= self.max_waiting or of_address > self.max_waiting / 2:
            raise gr.Error("The queue is full. Try again in a minute.", print_exception=False)

    def _wait(self, ticket: _Ticket) -> Iterator[int]:
        while True:
            with self._changed:
                position = self._tickets.index(ticket)
                if position == 0:
                    self._running = ticket
                    return
            yield position
            with self._changed:
                # Reporting every change of position to every waiting request would take longer than small jobs do.
                self._changed.wait_for(lambda: self._tickets[0] is ticket, POLL_SECONDS)


@lru_cache(maxsize=1)
def _network_queue() -> FairQueue:
    return FairQueue(settings().queue)


def in_fair_queue(waiting: Callable[[str], dict[str, Any] | list]) -> Callable:
    """Decorate a generator handler so that it runs in the fair queue.

    `waiting` maps a status text to updates of the handler's outputs, which are shown until the handler starts.
    """

    def decorate(handler: Callable[..., Iterator]) -> Callable[..., Iterator]:
        @wraps(handler)
        def queued(*arguments, **named):
            request = LocalContext.request.get(None)
            address = address_of(request) if request else ""
            with _network_queue().ticket(visitor_of(request), address, departure_check()) as positions:
                for position in positions:
                    yield waiting(f"Waiting: {position} before you.")
                yield from handler(*arguments, **named)

        return queued

    return decorate
