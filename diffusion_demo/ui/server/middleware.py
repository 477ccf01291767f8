"""ASGI middleware: block unused Gradio routes, bound request bodies and hide tracebacks."""

import shutil
import sys
import traceback
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffusion_demo.ui.server import disk_quota
from diffusion_demo.ui.settings import Settings

# Prefixes of Gradio routes that this page does not use: proxies to other servers, component functions, deep links,
# recordings, AI coding and development.
BLOCKED_ROUTES = (
    "proxy=",
    "component_server",
    "deep_link",
    "process_recording",
    "stream",
    "vibe",
    "undo-vibe",
    "run-history",
    "runs",
    "dev",
    "mcp",
)
MAX_BODY_BYTES = 2_000_000  # except for uploads
SECURITY_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin")]
MIN_FREE_DISK_BYTES = 200_000_000


class RequestGuard:
    """ASGI middleware that rejects unwanted requests and turns exceptions into JSON errors.

    An upload may have `max_upload_bytes`. Uploads are rejected while `temp_folder` holds more than `max_temp_bytes`
    or its disk is nearly full.
    """

    def __init__(self, app: ASGIApp, max_upload_bytes: int, temp_folder: Path, max_temp_bytes: int):
        self.app, self.max_upload_bytes = app, max_upload_bytes
        self.temp_folder, self.max_temp_bytes = temp_folder, max_temp_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process an ASGI connection. Everything but HTTP is passed on unchanged."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        response_started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal response_started
            if message["type"] == "http.response.start":
                response_started = True
                message["headers"] = [*message.get("headers", []), *SECURITY_HEADERS]
            await send(message)

        try:
            await self.app(scope, self._bounded_receive(scope, receive), send_with_headers)
        except Exception as error:
            if response_started:
                raise
            await self._error_response(scope, error)(scope, receive, send_with_headers)

    def _bounded_receive(self, scope: Scope, receive: Receive) -> Receive:
        """Return `receive` with a limit on the body size. Raises HTTPException if the route or body is rejected."""
        path = scope["path"].removeprefix("/gradio_api").strip("/")
        if path.startswith(BLOCKED_ROUTES) or any(part in ("..", ".") for part in path.split("/")):
            raise HTTPException(404, "Not found.")
        is_upload = path.startswith("upload") and scope["method"] == "POST"
        if is_upload and self._temp_folder_is_full():
            raise HTTPException(507, "The disk of the server is full. Try again later.")
        maximum, received = self.max_upload_bytes if is_upload else MAX_BODY_BYTES, 0
        content_length = dict(scope["headers"]).get(b"content-length", b"0")
        if not content_length.isdigit() or int(content_length) > maximum:
            raise _body_too_large(maximum)

        async def bounded_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > maximum:
                raise _body_too_large(maximum)
            return message

        return bounded_receive

    def _temp_folder_is_full(self) -> bool:
        return (
            shutil.disk_usage(self.temp_folder).free < MIN_FREE_DISK_BYTES
            or disk_quota.folder_size(self.temp_folder) > self.max_temp_bytes
        )

    def _error_response(self, scope: Scope, error: Exception) -> JSONResponse:
        if isinstance(error, HTTPException):
            return JSONResponse({"detail": error.detail}, error.status_code)
        last = traceback.extract_tb(error.__traceback__)[-1]
        route = "/".join(scope["path"].split("/")[:3])[:80]  # the rest of the path may contain a session hash
        location = f"{Path(last.filename).name}:{last.lineno}"
        print(f"Rejected: {scope['method']} {route!r} ({type(error).__name__}, {location})", file=sys.stderr)
        return JSONResponse({"detail": "The server cannot process this request. Reload the page."}, 400)


def _body_too_large(maximum: int) -> HTTPException:
    return HTTPException(413, f"The request is too large. The maximum is {maximum / 1e6:g} MB.")


def middleware(settings: Settings, temp_folder: Path) -> list[Middleware]:
    """Return the value for Gradio's `app_kwargs["middleware"]`.

    A local page accepts only requests whose Host header names this machine, which prevents DNS rebinding.
    """
    guard = Middleware(
        RequestGuard,
        max_upload_bytes=settings.upload_mb * 1_000_000,
        temp_folder=temp_folder,
        max_temp_bytes=settings.disk_gb * 1_000_000_000,
    )
    local_hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "::1", "[::1]"])
    return [guard] if settings.public else [guard, local_hosts]
