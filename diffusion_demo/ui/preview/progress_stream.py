"""A walk through the steps in a thread of its own, and as much of it as a person can see: drawing never holds up the network."""

import threading
import time
from collections.abc import Container, Iterator
from contextvars import copy_context

from diffusion_demo.diffusion.samplers import Step

SECONDS_BETWEEN_UPDATES = 1 / 8

_one_walk = threading.Lock()  # a walk that was just stopped may be in its last step when the next one begins


def watch(steps: Iterator[Step], kept: Container[int] = ()) -> Iterator[list[Step]]:
    """At most eight times a second: the steps of the indices `kept` that were made since, and the newest, which is the last of the list.

    The last step of all is always seen. Whoever closes this ends the walk within a step. What goes wrong in the walk is raised here.
    """
    walk = _Walk(steps, kept)
    # the context tells gradio, and a Space's GPU, for whom this is done
    threading.Thread(target=copy_context().run, args=(walk.run,), name="walk", daemon=True).start()
    try:
        while fresh := walk.fresh():
            seen = time.monotonic()
            yield fresh
            walk.rest(seen + SECONDS_BETWEEN_UPDATES - time.monotonic())
    finally:
        walk.stopped = True


class _Walk:
    def __init__(self, steps: Iterator[Step], kept: Container[int]):
        self.steps, self.kept = steps, kept
        self.stopped, self.error = False, None
        self._unseen, self._ended, self._news = [], False, threading.Condition()

    def run(self) -> None:
        try:
            with _one_walk:
                for step in self.steps:
                    if self.stopped:
                        return
                    self._put(step)
        except BaseException as error:
            self.error = error
        finally:
            with self._news:
                self._ended = True
                self._news.notify()

    def _put(self, step: Step) -> None:
        with self._news:
            if self._unseen and self._unseen[-1].index not in self.kept:
                self._unseen.pop()
            self._unseen.append(step)
            self._news.notify()

    def fresh(self) -> list[Step]:
        """What was not seen yet, as soon as there is something; nothing when the walk is over. Raises what ended it early."""
        with self._news:
            self._news.wait_for(lambda: self._unseen or self._ended)
            fresh, self._unseen = self._unseen, []
        if not fresh and self.error:
            raise self.error
        return fresh

    def rest(self, seconds: float) -> None:
        """Until so much time is over, or the walk."""
        with self._news:
            self._news.wait_for(lambda: self._ended, timeout=max(0, seconds))


def duration(seconds: float) -> str:
    """A stretch of time as a person says it."""
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
