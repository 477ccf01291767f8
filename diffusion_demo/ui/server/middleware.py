"""ASGI middleware: block unused Gradio routes, bound request bodies and hide tracebacks."""

import sys
import traceback
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffusion_demo.ui.server import call_body
from diffusion_demo.ui.server.upload_quota import UploadQuota
from diffusion_demo.ui.server.upload_route import UploadRoute
from diffusion_demo.ui.server.visitors import cookie_middleware
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
MAX_UPLOADED_FILES = 100_000  # on a public page, of all visitors
VISITOR_SHARE = 0.25  # of the upload quota, on a public page


class RequestGuard:
    """ASGI middleware that rejects unwanted requests, receives uploads and turns exceptions into JSON errors."""

    def __init__(self, app: ASGIApp, uploads: UploadRoute):
        self.app, self.uploads = app, uploads

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
            path = _route_of(scope)
            is_upload = path == "upload" and scope["method"] == "POST"
            bounded = _bounded_receive(scope, receive, self.uploads.max_bytes if is_upload else MAX_BODY_BYTES)
            if scope["method"] == "POST" and path.startswith(call_body.JSON_ROUTES):
                bounded = await _checked_receive(path, bounded)
            await (self.uploads if is_upload else self.app)(scope, bounded, send_with_headers)
        except Exception as error:
            if response_started:
                raise
            await self._error_response(scope, error)(scope, receive, send_with_headers)

    def _error_response(self, scope: Scope, error: Exception) -> JSONResponse:
        if isinstance(error, HTTPException):
            return JSONResponse({"detail": error.detail}, error.status_code)
        last = traceback.extract_tb(error.__traceback__)[-1]
        route = "/".join(scope["path"].split("/")[:3])[:80]  # the rest of the path may contain a session hash
        location = f"{Path(last.filename).name}:{last.lineno}"
        print(f"Rejected: {scope['method']} {route!r} ({type(error).__name__}, {location})", file=sys.stderr)
        return JSONResponse({"detail": "The server cannot process this request. Reload the page."}, 400)


def _route_of(scope: Scope) -> str:
    """Return the path below Gradio's prefix. Raises HTTPException for a route that this page does not use."""
    path = scope["path"].removeprefix("/gradio_api").strip("/")
    if path.startswith(BLOCKED_ROUTES) or any(part in ("..", ".") for part in path.split("/")):
        raise HTTPException(404, "Not found.")
    call_body.check_keys(path, scope["query_string"])
    return path


def _bounded_receive(scope: Scope, receive: Receive, maximum: int) -> Receive:
    """Return `receive` with a limit on the body size. Raises HTTPException if more is announced."""
    received = 0
    content_length = dict(scope["headers"]).get(b"content-length", b"0")
    if not content_length.isdigit() or len(content_length) > 15 or int(content_length) > maximum:
        raise _body_too_large(maximum)

    async def bounded_receive() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > maximum:
            raise _body_too_large(maximum)
        return message

    return bounded_receive


async def _checked_receive(path: str, receive: Receive) -> Receive:
    """Read the whole body of a call, and return a `receive` that starts with it. Raises HTTPException."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise call_body.MALFORMED
        body, more = body + message.get("body", b""), message.get("more_body", False)
    call_body.check_body(path, body)
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _body_too_large(maximum: int) -> HTTPException:
    return HTTPException(413, f"The request is too large. The maximum is {maximum / 1e6:g} MB.")


def middleware(settings: Settings, temp_folder: Path) -> list[Middleware]:
    """Return the value for Gradio's `app_kwargs["middleware"]`.

    A local page accepts only requests whose Host header names this machine, which prevents DNS rebinding.
    """
    quota = UploadQuota(
        temp_folder,
        settings.disk_gb * 1_000_000_000,
        MAX_UPLOADED_FILES if settings.public else sys.maxsize,
        VISITOR_SHARE if settings.public else 1.0,
    )
    guard = Middleware(RequestGuard, uploads=UploadRoute(settings.upload_mb * 1_000_000, quota))
    local_hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return [*cookie_middleware(), guard, *([] if settings.public else [local_hosts])]
