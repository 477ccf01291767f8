"""Login with Hugging Face on a Space (OpenID Connect with PKCE), as an alternative to one name and password.

The Space says `hf_oauth: true` in its README.md, and the Hub then sets the variables that `Provider` reads. Only the
identity is requested, and the access token is forgotten once the account is known.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.server.login import TOO_MANY, LoginMiddleware
from diffusion_demo.ui.server.visitors import address_of

SCOPES = "openid profile"  # nothing that could read or change a repository
SECONDS = 10  # timeout of a request to the Hub
FAILED = "Hugging Face did not confirm the login. Try again."
MISSING = (
    "DIFFUSION_DEMO_HF_LOGIN needs a Space whose README.md says hf_oauth: true ({} is not set). Use deploy --hf-login."
)
# A frame of huggingface.co cannot show the Hub's login page, and has cookies of its own: hence the new tab.
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Diffusion Demo: log in</title>
<style>body{{font:1rem sans-serif;max-width:24rem;margin:15vh auto;padding:1rem}}</style>
<h1>Diffusion Demo</h1><p role="alert">{message}</p>
<p><a href="/login/huggingface" target="_blank">Log in with Hugging Face</a> in a new tab, and stay there.</p></html>"""


@dataclass(frozen=True)
class Provider:
    """The Hub as an identity provider, and this Space as its client."""

    url: str
    client_id: str
    client_secret: str
    redirect_uri: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Provider":
        """Return the provider of a Space. Raises BadInput, naming the variable, if this is none with hf_oauth."""
        names = ("OPENID_PROVIDER_URL", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "SPACE_HOST")
        if missing := [name for name in names if not environment.get(name)]:
            raise BadInput(MISSING.format(missing[0]))
        url, client_id, secret, host = (environment[name] for name in names)
        return cls(url.rstrip("/"), client_id, secret, f"https://{host}/login/callback")

    def authorization_url(self, state: str, verifier: str) -> str:
        """Return the address where the visitor confirms the login."""
        digest = hashlib.sha256(verifier.encode()).digest()
        query = {
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "scope": SCOPES,
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return f"{self.url}/oauth/authorize?{urlencode(query)}"

    def account_of(self, code: str, verifier: str) -> str:
        """Return the identifier of the account that confirmed. Raises an exception if the Hub does not."""
        from huggingface_hub.utils import get_session

        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
        }
        own: Any = (self.client_id, self.client_secret)
        token = get_session().post(f"{self.url}/oauth/token", data=form, auth=own, timeout=SECONDS)
        token.raise_for_status()
        bearer = {"authorization": f"Bearer {token.json()['access_token']}"}
        info = get_session().get(f"{self.url}/oauth/userinfo", headers=bearer, timeout=SECONDS)
        info.raise_for_status()
        account = info.json()["sub"]
        if not isinstance(account, str) or not 0 < len(account) <= 200:
            raise ValueError("the account has no identifier")
        return account


class HubLogin(LoginMiddleware):
    """Login with an account of the Hub, which becomes the visitor: the limits hold for it on all its devices."""

    def __init__(self, app: ASGIApp, provider: Provider):
        super().__init__(app, PAGE)
        self._provider = provider

    async def log_in(self, scope: Scope, receive: Receive) -> Response | None:
        """Send the browser to the Hub, or take the answer that it brings back."""
        path = scope["path"].rstrip("/")
        if path == "/login/huggingface":
            return self._begin(scope["session"])
        return await self._finish(Request(scope, receive)) if path == "/login/callback" else None

    def admit(self, scope: Scope, account: str) -> None:
        """Make the account the visitor."""
        scope["visitor"] = f"browser of account {account}"

    def _begin(self, session: dict[str, Any]) -> Response:
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        session["oauth"] = [state, verifier]
        return RedirectResponse(self._provider.authorization_url(state, verifier), 303)

    async def _finish(self, request: Request) -> Response:
        """Exchange the code for the account, if this browser has begun the login."""
        begun = request.session.pop("oauth", None)
        if not self.attempts.allow(address_of(request)):
            return HTMLResponse(PAGE.format(message=TOO_MANY), 429)
        code, state = (request.query_params.get(name, "") for name in ("code", "state"))
        if not (begun and code and hmac.compare_digest(begun[0].encode(), state.encode("utf-8", "replace"))):
            return HTMLResponse(PAGE.format(message=FAILED), 400)
        try:
            account = await run_in_threadpool(self._provider.account_of, code, begun[1])
        except Exception:  # of the HTTP library, or an answer of another form; its text may hold the code
            return HTMLResponse(PAGE.format(message=FAILED), 400)
        self.remember(request, account)
        return RedirectResponse("/", 303)
