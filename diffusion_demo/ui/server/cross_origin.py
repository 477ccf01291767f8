"""Protection against other web pages: they cannot read this page, post to it or show it in a frame."""

from gradio.route_utils import CustomCORSMiddleware
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffusion_demo.ui.settings import Settings

# Gradio's page has inline scripts and styles, and compiles the scripts of gr.HTML in the browser.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors {frames}"
)
FRAMES_OF_A_SPACE = "'self' https://huggingface.co https://*.hf.space"
FOREIGN = "This request comes from another web page. Open this page in the browser and use it there."


def disable_gradios_cors() -> None:
    """Keep Gradio 6.31 from letting other origins read its answers, with credentials.

    Its CORS middleware lies around all others, which could neither remove its headers nor see a preflight request. It
    does nothing if it takes CORS to be configured by an app around Gradio's.
    """
    CustomCORSMiddleware.parent_configures_cors = lambda self: True


class CrossOriginGuard:
    """ASGI middleware that refuses requests of other web pages, and tells browsers to shield this one."""

    def __init__(self, app: ASGIApp, settings: Settings):
        self.app, self._settings = app, settings
        policy = CONTENT_SECURITY_POLICY.format(frames=FRAMES_OF_A_SPACE if settings.space else "'none'")
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
            *([] if settings.space else [(b"x-frame-options", b"DENY")]),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process an ASGI connection. Everything but HTTP is passed on unchanged."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        if self._is_foreign(Headers(scope=scope), scope["method"]):
            await JSONResponse({"detail": FOREIGN}, 403)(scope, receive, send_with_headers)
            return
        if not (self._settings.space or self._settings.proxy):  # Gradio would build its links with it
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"x-forwarded-host"]
        await self.app(scope, receive, send_with_headers)

    def _is_foreign(self, headers: Headers, method: str) -> bool:
        """Return whether another web page sent the request. Following a link to this page is not foreign."""
        origin, host = headers.get("origin"), headers.get("host", "")
        # Behind a proxy the host may differ from the one in the browser, and Sec-Fetch-Site has to suffice.
        is_direct = not (self._settings.space or self._settings.proxy)
        if is_direct and origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return True
        frames = ("document", "iframe") if self._settings.space else ("document",)
        is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") in frames
        is_elsewhere = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        return is_elsewhere and not (is_link and method in ("GET", "HEAD"))
