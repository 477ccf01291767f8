"""ASGI middleware: block unused Gradio routes, bound request bodies and hide tracebacks."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl

from gradio_client.utils import is_http_url_like
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffusion_demo.ui.server import queue_guard, route_schemas
from diffusion_demo.ui.server.cross_origin import CrossOriginGuard
from diffusion_demo.ui.server.hf_login import HubLogin, Provider
from diffusion_demo.ui.server.login import PasswordLogin
from diffusion_demo.ui.server.page_head import PageHead
from diffusion_demo.ui.server.rate_limit import AddressLimit
from diffusion_demo.ui.server.upload_quota import UploadQuota
from diffusion_demo.ui.server.upload_route import UploadRoute
from diffusion_demo.ui.server.visitor_files import VisitorFiles
from diffusion_demo.ui.server.visitors import cookie_middleware
from diffusion_demo.ui.settings import Settings, settings

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
    "custom_component",
    "profiling",
    "monitoring",
    "token",
    "dev",
    "mcp",
)
MAX_BODY_BYTES = 2_000_000  # except for uploads
MAX_UPLOADED_FILES = 100_000  # on a public page, of all visitors
VISITOR_SHARE, ADDRESS_SHARE = 0.25, 0.5  # of the upload quota, on a public page
FILE_NOT_FOUND = HTTPException(404, "This file does not exist, or has expired.")


class RequestGuard:
    """ASGI middleware that rejects unwanted requests, receives uploads and turns exceptions into JSON errors."""

    def __init__(self, app: ASGIApp, uploads: UploadRoute, files: VisitorFiles, public: bool):
        self.app, self.uploads, self.files, self.public = app, uploads, files, public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process an ASGI connection. Everything but HTTP is passed on unchanged."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        response_started = False

        async def noticed_send(message: Message) -> None:
            nonlocal response_started
            response_started = response_started or message["type"] == "http.response.start"
            await send(message)

        try:
            path = _route_of(scope)
            if path.startswith(("file=", "file/")):
                self._check_file(scope)
            is_upload = path == "upload" and scope["method"] == "POST"
            bounded = _bounded_receive(scope, receive, self.uploads.max_bytes if is_upload else MAX_BODY_BYTES)
            if scope["method"] == "POST" and path.startswith(route_schemas.JSON_ROUTES):
                bounded = await _checked_receive(path, bounded)
            with _listening(path, scope):
                await (self.uploads if is_upload else self.app)(scope, bounded, noticed_send)
        except Exception as error:
            response = self._error_response(scope, error)
            if not response_started:  # else it breaks off
                await response(scope, receive, noticed_send)

    def _check_file(self, scope: Scope) -> None:
        """Raise HTTPException for a file that another visitor owns, and for the address of another server.

        Gradio would fetch that. A local page has one user, whose programs may fetch what the page shows.
        """
        named = scope["path"].split("/file", 1)[1][1:]
        if is_http_url_like(named) or (self.public and not self.files.may_fetch(scope["visitor"], named)):
            raise FILE_NOT_FOUND

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
    blocked = tuple(route for route in BLOCKED_ROUTES if route != "mcp" or not settings().mcp)
    if path.startswith(blocked) or any(part in ("..", ".") for part in path.split("/")):
        raise HTTPException(404, "Not found.")
    route_schemas.check_keys(path, scope["query_string"])
    return path


@contextmanager
def _listening(path: str, scope: Scope) -> Iterator[None]:
    """Count the request as a listener if it fetches results. Raises HTTPException if there are none to fetch."""
    parts = path.split("/")
    key = None
    if scope["method"] == "GET" and path == "queue/data":
        key = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("session_hash", "")
    elif scope["method"] == "GET" and parts[0] == "call" and len(parts) > 2:
        key = parts[-1]
    if key is None:
        yield
        return
    if not queue_guard.is_known(key):
        raise HTTPException(404, "These results do not exist, or have expired. Try again.")
    with queue_guard.count_listener(key):
        yield


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
            raise route_schemas.MALFORMED
        body, more = body + message.get("body", b""), message.get("more_body", False)
    route_schemas.check_body(path, body)
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _body_too_large(maximum: int) -> HTTPException:
    return HTTPException(413, f"The request is too large. The maximum is {maximum / 1e6:g} MB.")


def middleware(settings: Settings, temp_folder: Path, files: VisitorFiles) -> list[Middleware]:
    """Return the value for Gradio's `app_kwargs["middleware"]`.

    A local page accepts only requests whose Host header names this machine, which prevents DNS rebinding.
    """
    quota = UploadQuota(
        temp_folder,
        settings.disk_gb * 1_000_000_000,
        MAX_UPLOADED_FILES if settings.public else sys.maxsize,
        VISITOR_SHARE if settings.public else 1.0,
        ADDRESS_SHARE if settings.public else 1.0,
    )
    uploads = UploadRoute(settings.upload_mb * 1_000_000, quota)
    guard = Middleware(RequestGuard, uploads=uploads, files=files, public=settings.public)
    local_hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "::1", "[::1]"])
    login = [Middleware(PasswordLogin, login=settings.login)] if settings.login else []
    if settings.hf_login:
        login = [Middleware(HubLogin, provider=Provider.from_environment(os.environ))]
    policy = Middleware(CrossOriginGuard, settings=settings)
    first = Middleware(AddressLimit, calls_per_minute=settings.calls_a_minute) if settings.public else local_hosts
    return [policy, first, *cookie_middleware(), *login, Middleware(PageHead), guard]
