"""Identity of a visitor: a signed cookie and the address of the connection.

A request without the cookie, as from a program, belongs to the visitor of its address, so a new session hash makes no
new visitor. A new cookie does, but the limits of the address hold for all its visitors together.
"""

import hashlib
import hmac
import ipaddress
import secrets
from functools import lru_cache

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from diffusion_demo.ui.settings import settings

COOKIE = "diffusion-demo"
_SECRET = secrets.token_bytes(32)  # of this process: after a restart everybody is a new visitor


def cookie_middleware() -> list[Middleware]:
    """Return the middleware that signs the cookie and identifies the visitor of every request.

    A Space shows the page in a frame of huggingface.co, where only a partitioned cookie for all sites works.
    """
    in_frame = settings().space
    cookie = Middleware(
        SessionMiddleware,
        secret_key=_SECRET.hex(),
        session_cookie=COOKIE,
        same_site="none" if in_frame else "lax",
        https_only=in_frame,
        partitioned=in_frame,
    )
    return [cookie, Middleware(_Identify)]


class _Identify:
    """ASGI middleware that sets scope["visitor"], and gives a browser without a cookie one."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            browser = scope["session"].get("visitor")
            scope["visitor"] = f"browser {browser}" if browser else f"address {address_of(HTTPConnection(scope))}"
            if not browser:
                scope["session"]["visitor"] = secrets.token_urlsafe(16)
        await self.app(scope, receive, send)


def address_of(request: "HTTPConnection | gr.Request") -> str:
    """Return the IP address of a request, or an empty string if it is unknown.

    On a Space this is the last public address in X-Forwarded-For. Clients can forge the earlier ones.
    """
    forwarded_for = request.headers.get("x-forwarded-for", "") if settings().space else ""
    for part in reversed(forwarded_for[-1000:].split(",")):
        try:
            address = ipaddress.ip_address(part.strip())
        except ValueError:
            continue
        if address.is_global:
            return str(address)
    return request.client.host if request.client else ""


def visitor_of(request: "gr.Request | None") -> str:
    """Return the key of the visitor who sent a request. It is never written to disk."""
    connection = getattr(request, "request", None)
    return connection.scope.get("visitor", "") if connection is not None else ""


@lru_cache(maxsize=4096)
def folder_name(visitor: str) -> str:
    """Return the name of the visitor's folder of uploads, which cannot be computed from outside."""
    return hmac.new(_SECRET, visitor.encode(), hashlib.sha256).hexdigest()[:32]
