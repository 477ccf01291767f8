"""Login with one name and password: without it, a visitor gets the login page and nothing else.

Gradio's own login leaves the page, the API description and other routes open, and its logout ends everybody's session.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from diffusion_demo.ui.server.rate_limit import RateLimiter
from diffusion_demo.ui.server.visitors import address_of

MAX_LOGINS = 10_000  # the oldest ones end
ATTEMPTS_PER_MINUTE, ATTEMPTS_OF_ALL = 10, 200
START_ROUTE = "/gradio_api/startup-events"  # Gradio's launch() calls it once, and fails if that is refused
MAX_FORM_BYTES = 10_000
WRONG = "Incorrect username or password. Try again."
TOO_MANY = "Too many attempts. Wait a minute and try again."
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Diffusion Demo: log in</title><style>body{{font:1rem sans-serif;max-width:20rem;margin:15vh auto;padding:1rem}}
input,button{{display:block;width:100%;box-sizing:border-box;font:inherit;padding:.5rem;margin:.25rem 0 1rem}}</style>
<h1>Diffusion Demo</h1><form method="post" action="/login"><p role="alert">{message}</p>
<label>Username<input name="username" autocomplete="username" required></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required></label>
<button>Log in</button></form></html>"""


class LoginMiddleware:
    """ASGI middleware that passes only the requests of visitors who are logged in. A subclass says how to log in.

    Args:
        app: The page.
        page: Login page, HTML with a place for {message}.
    """

    def __init__(self, app: ASGIApp, page: str):
        self.app, self.page = app, page
        self.attempts, self.attempts_of_all = RateLimiter(ATTEMPTS_PER_MINUTE), RateLimiter(ATTEMPTS_OF_ALL)
        self._started = False
        self._accounts: OrderedDict[str, str] = OrderedDict()  # by the token in the signed cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the login, or pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page uses no WebSocket
            return
        response = await self._respond(scope, receive)
        await (response or self.app)(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive) -> Response | None:
        """Return the response to a request, or None if the request may pass."""
        session = scope["session"]
        if scope["path"].rstrip("/") == "/logout":
            self._accounts.pop(session.pop("login", ""), None)
            return RedirectResponse("/", 303)
        if not self._started and scope["path"] == START_ROUTE:
            self._started = True
            return None
        response = await self.log_in(scope, receive)
        if response is not None:
            return response
        account = self._accounts.get(session.get("login", ""))
        if account is None:
            return self._refusal(scope)
        self.admit(scope, account)
        return None

    async def log_in(self, scope: Scope, receive: Receive) -> Response | None:
        """Return the response to a step of the login, or None for any other request."""
        raise NotImplementedError

    def admit(self, scope: Scope, account: str) -> None:
        """Prepare a request of a visitor who is logged in to an account."""

    def remember(self, request: Request, account: str) -> None:
        """Log the browser of a request in to an account."""
        token = secrets.token_urlsafe(32)
        self._accounts[token] = account
        if len(self._accounts) > MAX_LOGINS:
            self._accounts.popitem(last=False)
        request.session["login"] = token

    def _refusal(self, scope: Scope) -> Response:
        """Return the login page at the address of the page, and a refusal at any other, whether it exists or not."""
        is_page = scope["method"] in ("GET", "HEAD") and scope["path"] in ("/", "/login", "/login/")
        if is_page and wants_html(HTTPConnection(scope)):
            return HTMLResponse(self.page.format(message=""))
        return JSONResponse({"detail": "Log in first."}, 401)


class PasswordLogin(LoginMiddleware):
    """Login with one name and password, `login`, for all visitors."""

    def __init__(self, app: ASGIApp, login: tuple[str, str]):
        super().__init__(app, PAGE)
        self._login = tuple(map(_digest, login))

    async def log_in(self, scope: Scope, receive: Receive) -> Response | None:
        """Compare name and password of a form that is posted to /login."""
        if scope["path"].rstrip("/") != "/login" or scope["method"] != "POST":
            return None
        return await self._check_form(Request(scope, receive))

    async def _check_form(self, request: Request) -> Response:
        if not (self.attempts.allow(address_of(request)) and self.attempts_of_all.allow("")):
            return _answer(request, 429, TOO_MANY)
        async with request.form(max_files=0, max_fields=10, max_part_size=MAX_FORM_BYTES) as form:
            given = [_digest(str(form.get(name, ""))) for name in ("username", "password")]
        # Both are always compared, in constant time.
        correct = [hmac.compare_digest(one, other) for one, other in zip(given, self._login, strict=True)]
        if not all(correct):
            return _answer(request, 400, WRONG)
        self.remember(request, "")
        return RedirectResponse("/", 303) if wants_html(request) else JSONResponse({"success": True})


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def wants_html(request: HTTPConnection) -> bool:
    """Return whether a browser sent the request, and not a program."""
    return "text/html" in request.headers.get("accept", "")


def _answer(request: HTTPConnection, status: int, message: str) -> Response:
    if wants_html(request):
        return HTMLResponse(PAGE.format(message=message), status)
    return JSONResponse({"detail": message}, status)
