"""Whose turn it is to use the network: one at a time, everybody's first request before anybody's second, and everybody sees how many are before."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps

import gradio as gr
from gradio.context import LocalContext

from diffusion_demo.ui.server.limits import address_of, visitor_of
from diffusion_demo.ui.settings import settings

EACH = 2  # requests of one page that may wait or run at a time
LOOK_SECONDS = 1.0


class FairQueue:
    """A queue for one turn at a time. most: how many may wait, in all; from one address no more than half of them."""

    def __init__(self, most: int):
        self.most, self._changed = most, threading.Condition()
        self._tickets: list[tuple[object, str, str]] = []  # each with its visitor and address, in the order of coming
        self._running: object | None = None

    @contextmanager
    def ticket(self, visitor: str, address: str) -> Iterator[Iterator[int]]:
        """Within the block, first exhaust what it gives: how many are before, again every second, until the turn has come.

        Raises a toast when too many wait already. Leaving the block, however that happens, gives the turn to the next.
        """
        mine = object()
        with self._changed:
            if sum(1 for _, v, _ in self._tickets if v == visitor) >= EACH:
                raise gr.Error(
                    "Your last images are still in the making; wait for them, or press Stop.", print_exception=False
                )
            waiting = len(self._tickets) - (self._running is not None)
            if waiting >= self.most or sum(1 for _, _, a in self._tickets if a == address) > self.most / 2:
                raise gr.Error(
                    "Too many people are waiting at the moment; try again in a minute.", print_exception=False
                )
            self._tickets.append((mine, visitor, address))
        try:
            yield self._wait(mine)
        finally:
            with self._changed:
                self._tickets = [entry for entry in self._tickets if entry[0] is not mine]
                if self._running is mine:
                    self._running = None  # and what else this visitor waits for goes behind everybody who waits already
                    self._tickets.sort(key=lambda entry: entry[1] == visitor)
                self._changed.notify_all()

    def _wait(self, mine: object) -> Iterator[int]:
        while True:
            with self._changed:
                before = self._order().index(mine)
                if before == 0:
                    self._running = mine
                    return
            yield before
            with self._changed:  # no sooner than this, or all who wait would be told of every change, which takes longer than small jobs do
                self._changed.wait_for(lambda: self._order()[0] is mine, LOOK_SECONDS)

    def _order(self) -> list[object]:
        """The running one, then everybody's first ticket in the order of coming, then the second ones."""
        seen: Counter[str] = Counter()
        ranked = []
        for number, (ticket, visitor, _) in enumerate(self._tickets):
            ranked.append((ticket is not self._running, seen[visitor], number, ticket))
            seen[visitor] += 1
        return [entry[-1] for entry in sorted(ranked, key=lambda entry: entry[:3])]


@lru_cache(maxsize=1)
def _turns() -> FairQueue:
    return FairQueue(settings().queue)


def fair_queue(waiting: Callable[[str], tuple]) -> Callable:
    """Decorate a handler that is a generator and uses the network: it begins when its turn comes, and ends the turn with itself.

    waiting(words) is what the handler's outputs show until then, where a person reads the words.
    """

    def decorate(handler: Callable[..., Iterator]) -> Callable[..., Iterator]:
        @wraps(handler)
        def in_its_turn(*arguments):
            request = LocalContext.request.get(None)
            with _turns().ticket(visitor_of(request), address_of(request) if request else "") as places:
                for before in places:
                    yield waiting(f"Waiting: {before} before you.")
                yield from handler(*arguments)

        return in_its_turn

    return decorate
