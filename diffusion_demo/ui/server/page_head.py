"""Head of the page as a link preview or a browser tab shows it: title, description, image and icon.

Gradio writes its own name and an empty image into the HTML, where programs that preview links read them.
"""

import html
import os
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffusion_demo.paths import ASSETS

TITLE = "Diffusion Demo"
DESCRIPTION = "Watch a small AI model turn random noise into images. Generate, train and inspect diffusion models."
IMAGE_ROUTE, IMAGE_FILE, IMAGE_SIZE = "/preview.png", ASSETS / "preview.png", (1200, 630)
CHARSET = b'<meta charset="utf-8" />'  # which has to stand among the first 1024 bytes
ICON_ROUTE = "/favicon.ico"
_GRADIO_TAGS = re.compile(rb'<meta\s+(?:property="og|name="twitter):[^>]*>', re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9.\-]+(:\d+)?|\[[0-9A-Fa-f:]+\](:\d+)?")


class PageHead:
    """ASGI middleware that replaces Gradio's tags in the page, and serves the preview image."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process an ASGI connection. Everything but the page and its preview image is passed on unchanged."""
        path = scope["path"] if scope["type"] == "http" and scope["method"] == "GET" else None
        if path == IMAGE_ROUTE:
            await FileResponse(IMAGE_FILE, headers={"cache-control": "max-age=86400"})(scope, receive, send)
        elif path == "/":
            await self._send_page(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _send_page(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        body = b""

        async def collect(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
            elif message["type"] == "http.response.body":
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await self._send_whole(scope, start, body, send)
            else:
                await send(message)

        await self.app(scope, receive, collect)

    async def _send_whole(self, scope: Scope, start: Message, body: bytes, send: Send) -> None:
        headers = MutableHeaders(raw=start["headers"])
        if headers.get("content-type", "").startswith("text/html"):
            body = _GRADIO_TAGS.sub(b"", body).replace(CHARSET, CHARSET + tags(_address(scope)).encode(), 1)
            headers["content-length"] = str(len(body))
        await send(start)
        await send({"type": "http.response.body", "body": body})


def _address(scope: Scope) -> str:
    """Return the address at which the visitor sees this page; empty if the Host header is not one."""
    if host := os.environ.get("SPACE_HOST"):
        return f"https://{host}"
    host = Headers(scope=scope).get("host", "")
    return f"{Request(scope).url.scheme}://{host}" if _HOST.fullmatch(host) else ""


def tags(address: str) -> str:
    """Return the tags of the head of the page at this address, such as "https://example.org"."""
    image, (width, height) = f"{address}{IMAGE_ROUTE}", IMAGE_SIZE
    properties = {
        "og:type": "website",
        "og:title": TITLE,
        "og:description": DESCRIPTION,
        "og:url": f"{address}/",
        "og:image": image,
        "og:image:width": str(width),
        "og:image:height": str(height),
        "og:image:alt": "Sixteen small avatars that the model generated from noise",
    }
    names = {
        "description": DESCRIPTION,
        "twitter:card": "summary_large_image",
        "twitter:title": TITLE,
        "twitter:description": DESCRIPTION,
        "twitter:image": image,
    }
    return "".join(
        [
            f"<title>{TITLE}</title>",
            f'<link rel="icon" type="image/svg+xml" href="{ICON_ROUTE}">',
            *(f'<meta property="{name}" content="{html.escape(value)}">' for name, value in properties.items()),
            *(f'<meta name="{name}" content="{html.escape(value)}">' for name, value in names.items()),
        ]
    )
