"""Sliding-window rate limits, and middleware that limits the requests of each address."""

import threading
import time
from collections import defaultdict, deque

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from diffusion_demo.ui.server.visitors import address_of

WINDOW_SECONDS = 60.0
MAX_TRACKED_CALLERS = 2000
VISITORS_PER_ADDRESS = 5  # at their full rate; more can share an address, as in a school, if each calls less often
FILES_PER_CALL = 10  # opening the page fetches some 115 files and makes some 25 calls
FILE_ROUTES = ("/assets/", "/static/", "/gradio_api/file=")
TOO_MANY = "Too many requests. Wait a minute and try again."


class RateLimiter:
    """A limit on the calls of each caller in any minute. Refused calls do not count."""

    def __init__(self, calls_per_minute: int):
        self.calls_per_minute, self._lock = calls_per_minute, threading.Lock()
        self._call_times: dict[str, deque[float]] = defaultdict(deque)

    def allow(self, caller: str) -> bool:
        """Count a call, unless it exceeds the limit. Return whether it is allowed."""
        now = time.monotonic()
        with self._lock:
            self._forget_inactive(now)
            times = self._call_times[caller]
            while times and now - times[0] > WINDOW_SECONDS:
                times.popleft()
            if len(times) >= self.calls_per_minute:
                return False
            times.append(now)
            return True

    def _forget_inactive(self, now: float) -> None:
        if len(self._call_times) > MAX_TRACKED_CALLERS:
            for caller, times in list(self._call_times.items()):
                if not times or now - times[-1] > WINDOW_SECONDS:
                    del self._call_times[caller]


class AddressLimit:
    """ASGI middleware that refuses the requests of an address that sends too many.

    Without it, one attacker could keep the server busy with requests that are allowed, or refused only after they were
    read.
    """

    def __init__(self, app: ASGIApp, calls_per_minute: int):
        self.app = app
        self._calls = RateLimiter(VISITORS_PER_ADDRESS * calls_per_minute)
        self._files = RateLimiter(FILES_PER_CALL * VISITORS_PER_ADDRESS * calls_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count and pass on an HTTP request, or refuse it. Everything else is passed on."""
        if scope["type"] == "http":
            is_file = scope["method"] == "GET" and scope["path"].startswith(FILE_ROUTES)
            limiter = self._files if is_file else self._calls
            if not limiter.allow(address_of(HTTPConnection(scope))):
                refusal = JSONResponse({"detail": TOO_MANY}, 429, {"retry-after": str(round(WINDOW_SECONDS))})
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)
