"""Starts queued runs while the page is open, in a thread."""

import sys
import threading
import time

from diffusion_demo.training.run_scheduler import SECONDS, RunScheduler, schedule
from diffusion_demo.ui.server import model_list, warmup
from diffusion_demo.ui.settings import settings

_wake = threading.Event()
_problem = ""


def start() -> None:
    """Start the thread, where training is allowed."""
    if settings().training:
        threading.Thread(target=_run_forever, name="queue", daemon=True).start()


def wake() -> None:
    """Make the thread look at the queue at once."""
    _wake.set()


def problem() -> str:
    """Return why the next run could not be started, or an empty text."""
    return _problem


def _run_forever() -> None:
    scheduler = RunScheduler(model_list.RUNS, settings().runs_at_once, _num_devices, _tell)
    while True:
        try:
            schedule(scheduler, _wake)  # returns at once while `diffusion-demo queue run` starts the runs
        except Exception as error:  # the thread must survive, or the queue would never start again
            print(f"The queue failed: {error!r}", file=sys.stderr)
        time.sleep(SECONDS)


def _num_devices() -> int:
    warmup.wait()
    from diffusion_demo.runtime.device import num_devices

    return num_devices()


def _tell(text: str) -> None:
    """Remember a problem until the next run starts. It is not logged, because it may name a run."""
    global _problem
    _problem = "" if text.endswith((" has started.", " has ended.")) else text
