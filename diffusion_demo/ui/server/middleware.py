"""What stands before Gradio's own routes: no more than the page uses, bodies of bounded size, and no request that ends in a traceback."""

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

# Routes of Gradio that this page does not use: requests to other servers, components that run functions, links that keep a page, coding by chat.
UNUSED = (
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
BODY_BYTES = 2_000_000  # of every request but an upload
HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin")]
LEAST_FREE_BYTES = 200_000_000


class Gate:
    """ASGI middleware. An upload may have upload_bytes; none is taken when `temporary` holds most_bytes, or its disk is nearly full."""

    def __init__(self, app: ASGIApp, upload_bytes: int, temporary: Path, most_bytes: int):
        self.app, self.upload_bytes, self.temporary, self.most_bytes = app, upload_bytes, temporary, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        try:
            await self.app(scope, self._bounded(scope, receive), answer)
        except Exception as error:
            if begun:
                raise
            await self._refusal(scope, error)(scope, receive, answer)

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """`receive` for a body of bounded size. Raises HTTPException for a route or a body that is not taken."""
        path = scope["path"].removeprefix("/gradio_api").strip("/")
        if path.startswith(UNUSED) or any(part in ("..", ".") for part in path.split("/")):
            raise HTTPException(404, "There is nothing here.")
        is_upload = path.startswith("upload") and scope["method"] == "POST"
        if is_upload and (
            shutil.disk_usage(self.temporary).free < LEAST_FREE_BYTES
            or disk_quota.used(self.temporary) > self.most_bytes
        ):
            raise HTTPException(507, "The disk here is full; try again later.")
        most, taken = self.upload_bytes if is_upload else BODY_BYTES, 0
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if not stated.isdigit() or int(stated) > most:
            raise _too_large(most)

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise _too_large(most)
            return message

        return counted

    def _refusal(self, scope: Scope, error: Exception) -> JSONResponse:
        if isinstance(error, HTTPException):
            return JSONResponse({"detail": error.detail}, error.status_code)
        last = traceback.extract_tb(error.__traceback__)[-1]
        route = "/".join(scope["path"].split("/")[:3])[:80]  # what follows may name a session
        print(
            f"Refused: {scope['method']} {route!r} ({type(error).__name__}, {Path(last.filename).name}:{last.lineno})",
            file=sys.stderr,
        )
        return JSONResponse({"detail": "This request cannot be answered; reload the page."}, 400)


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"This is too large; up to {most / 1e6:g} MB are taken at a time.")


def middleware(settings: Settings, temporary: Path) -> list[Middleware]:
    """Gradio's app_kwargs["middleware"]. On one's own machine the Host header must name it: other sites' pages then cannot reach it by DNS tricks."""
    gate = Middleware(
        Gate,
        upload_bytes=settings.upload_mb * 1_000_000,
        temporary=temporary,
        most_bytes=settings.disk_gb * 1_000_000_000,
    )
    own = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return [gate] if settings.public else [gate, own]
