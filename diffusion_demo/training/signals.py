"""Graceful stop of the training loop on Ctrl-C (SIGINT), SIGTERM, and the loss of its terminal (SIGHUP)."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopRequest:
    """Whether a signal has requested a stop."""

    requested: bool = False


@contextmanager
def catch_stop_signals() -> Iterator[StopRequest]:
    """Set `requested` on SIGINT, SIGTERM or SIGHUP; raise KeyboardInterrupt on a SIGINT after that.

    A SIGHUP that is ignored, as under nohup, stays ignored. The previous handlers are restored on exit. Outside the
    main thread, where Python allows no handlers, nothing is caught.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request_stop(number: int, frame: FrameType | None) -> None:
        if stop.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.requested = True

    old_handlers = {number: signal.signal(number, request_stop) for number in _signals()}
    try:
        yield stop
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)


def _signals() -> list[signal.Signals]:
    caught = [signal.SIGINT, signal.SIGTERM]
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        caught.append(hangup)
    return caught
