"""How much one visitor may ask for: the refusals, each a sentence that names the limit."""

import ipaddress
import threading
import time
from collections import defaultdict, deque

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.ui.settings import settings

MINUTE = 60.0
PEOPLE_AT_AN_ADDRESS = 20  # a school has one address
PUBLIC_SIZE, PUBLIC_BATCH, PUBLIC_ACCUMULATION = 64, 64, 8
ELSEWHERE = "the program on your own machine has no such limit."


def check_sampling(num_images: float, steps: float) -> None:
    """Raise BadInput for more images or steps than this page makes at once. Numbers as somebody sent them: NaN is refused, too."""
    allowed = settings()
    for what, value, most in (("images", num_images, allowed.images), ("steps", steps, allowed.steps)):
        if not (isinstance(value, int | float) and 1 <= value <= most):
            raise BadInput(f"This page makes 1 to {most} {what} at a time; {ELSEWHERE}")


def check_training(config: TrainConfig) -> None:
    """Raise BadInput for a training that a public page's machine would choke on."""
    if not settings().public:
        return
    for name, most in (
        ("image_size", PUBLIC_SIZE),
        ("batch_size", PUBLIC_BATCH),
        ("accumulation", PUBLIC_ACCUMULATION),
    ):
        if getattr(config, name) > most:
            raise BadInput(f"This page trains with {name.replace('_', ' ')} up to {most}; {ELSEWHERE}", name)


def check_training_is_on() -> None:
    """Raise a toast where nobody may train."""
    if not settings().training:
        raise gr.Error(settings().why_no_training, print_exception=False)


def address_of(request: gr.Request) -> str:
    """Where a request comes from. On a Space the last public address that its proxies tell: earlier ones anybody can invent."""
    told = request.headers.get("x-forwarded-for", "") if settings().space else ""
    for part in reversed(told.split(",")):
        try:
            address = ipaddress.ip_address(part.strip())
        except ValueError:
            continue
        if address.is_global:
            return str(address)
    return request.client.host if request.client else ""


def visitor_of(request: gr.Request | None) -> str:
    """What tells one visitor's page from another's; nothing of it is written down."""
    return "" if request is None else f"{address_of(request)} {request.session_hash}"


class Calls:
    """At most so many a minute of one page, and twenty times as many of one address."""

    def __init__(self, a_minute: int):
        self.a_minute, self._lock = a_minute, threading.Lock()
        self._when: dict[str, deque[float]] = defaultdict(deque)

    def count(self, request: gr.Request) -> None:
        """Raise a toast when it is one too many."""
        now = time.monotonic()
        with self._lock:
            self._forget(now)
            for who, most in (
                (visitor_of(request), self.a_minute),
                (address_of(request), PEOPLE_AT_AN_ADDRESS * self.a_minute),
            ):
                when = self._when[who]
                while when and now - when[0] > MINUTE:
                    when.popleft()
                if len(when) >= most:
                    raise gr.Error("Too much was asked for at once; wait a minute.", print_exception=False)
                when.append(now)

    def _forget(self, now: float) -> None:
        if len(self._when) > 2000:
            for who in [who for who, when in self._when.items() if not when or now - when[-1] > MINUTE]:
                del self._when[who]
