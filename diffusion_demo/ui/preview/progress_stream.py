"""Progress stream: sample in a thread and yield at most eight updates a second, so drawing never blocks the network."""

import threading
import time
from collections.abc import Container, Generator, Iterator
from contextvars import copy_context

from diffusion_demo.diffusion.samplers import Step

SECONDS_BETWEEN_UPDATES = 1 / 8

_one_at_a_time = threading.Lock()  # a sampler that was just stopped may still be in its last step when the next starts


def watch(steps: Iterator[Step], recorded: Container[int] = ()) -> Generator[list[Step], None, None]:
    """Consume `steps` in a thread and yield, at most eight times a second, the new steps to show.

    Each list ends with the newest step; before it stand those new ones whose index is in `recorded`. The last step of
    all is always yielded. Closing the generator stops the sampler within one step. Re-raises exceptions of the sampler.
    """
    worker = _Worker(steps, recorded)
    # gradio and ZeroGPU identify the request of the caller by context variables
    threading.Thread(target=copy_context().run, args=(worker.run,), name="sampler", daemon=True).start()
    try:
        while new_steps := worker.wait_for_steps():
            yielded_at = time.monotonic()
            yield new_steps
            worker.wait_for_end(yielded_at + SECONDS_BETWEEN_UPDATES - time.monotonic())
    finally:
        worker.stopped = True


class _Worker:
    """Consumer of the steps, shared between its thread and the reader."""

    def __init__(self, steps: Iterator[Step], recorded: Container[int]):
        self.steps, self.recorded = steps, recorded
        self.stopped = False
        self._error: BaseException | None = None
        self._pending: list[Step] = []
        self._ended, self._changed = False, threading.Condition()

    def run(self) -> None:
        """Consume the steps until they end, fail or are stopped."""
        try:
            with _one_at_a_time:
                for step in self.steps:
                    if self.stopped:
                        return
                    self._put(step)
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def _put(self, step: Step) -> None:
        with self._changed:
            if self._pending and self._pending[-1].index not in self.recorded:
                self._pending.pop()
            self._pending.append(step)
            self._changed.notify()

    def wait_for_steps(self) -> list[Step]:
        """Wait for new steps and return them; empty at the end. Re-raises an exception of the sampler."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._ended)
            new_steps, self._pending = self._pending, []
        if not new_steps and self._error:
            raise self._error
        return new_steps

    def wait_for_end(self, seconds: float) -> None:
        """Wait until the sampler ends, but at most `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, timeout=max(0, seconds))
