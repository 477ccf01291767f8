"""Limits on sampling and training requests, and a rate limiter."""

import threading
import time
from collections import defaultdict, deque

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.ui.server.visitors import address_of, visitor_of
from diffusion_demo.ui.settings import settings

WINDOW_SECONDS = 60.0
VISITORS_PER_ADDRESS = 20  # many visitors may share an address, as in a school
MAX_TRACKED_CALLERS = 2000
PUBLIC_TRAINING_LIMITS = {"image_size": 64, "batch_size": 64, "accumulation": 8}
NO_LIMIT_LOCALLY = "Run the program on your own machine to raise the limit."


def check_sampling(num_images: float, steps: float) -> None:
    """Raise BadInput if the number of images or steps exceeds the limit of this page, or is not a number (NaN)."""
    for name, value, maximum in (("images", num_images, settings().images), ("steps", steps, settings().steps)):
        if not (isinstance(value, int | float) and 1 <= value <= maximum):
            raise BadInput(f"The number of {name} must be from 1 to {maximum} on this page. {NO_LIMIT_LOCALLY}")


def check_network_calls(calls: int) -> None:
    """Raise BadInput for more calls of the network than the largest request for images makes."""
    if settings().public and calls > (maximum := settings().images * settings().steps):
        raise BadInput(f"This takes {calls} network calls, and this page allows {maximum}. {NO_LIMIT_LOCALLY}")


def check_training(config: TrainConfig) -> None:
    """Raise BadInput for a training configuration that is too expensive for a public page."""
    if not settings().public:
        return
    for name, maximum in PUBLIC_TRAINING_LIMITS.items():
        if getattr(config, name) > maximum:
            words = name.replace("_", " ")
            raise BadInput(f"The {words} must be at most {maximum} on this page. {NO_LIMIT_LOCALLY}", name)


def check_training_enabled() -> None:
    """Raise gr.Error if training is disabled."""
    if not settings().training:
        raise gr.Error(settings().why_no_training, print_exception=False)


class RateLimiter:
    """A sliding-window rate limit per visitor, and a limit 20 times as high per address."""

    def __init__(self, calls_per_minute: int):
        self.calls_per_minute, self._lock = calls_per_minute, threading.Lock()
        self._call_times: dict[str, deque[float]] = defaultdict(deque)

    def count(self, request: gr.Request) -> None:
        """Count a call. Raises gr.Error if it exceeds a limit."""
        now = time.monotonic()
        limits = {
            visitor_of(request): self.calls_per_minute,
            address_of(request): VISITORS_PER_ADDRESS * self.calls_per_minute,
        }
        with self._lock:
            self._forget_inactive(now)
            for caller, maximum in limits.items():
                times = self._call_times[caller]
                while times and now - times[0] > WINDOW_SECONDS:
                    times.popleft()
                if len(times) >= maximum:
                    raise gr.Error("Too many requests. Wait a minute and try again.", print_exception=False)
                times.append(now)

    def _forget_inactive(self, now: float) -> None:
        if len(self._call_times) > MAX_TRACKED_CALLERS:
            for caller, times in list(self._call_times.items()):
                if not times or now - times[-1] > WINDOW_SECONDS:
                    del self._call_times[caller]
