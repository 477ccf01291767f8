"""Login with Hugging Face: the middleware against a local identity provider that checks what the Hub checks."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.server import visitors
from diffusion_demo.ui.server.hf_login import FAILED, HubLogin, Provider
from diffusion_demo.ui.settings import Settings

SPACE = "https://me-demo.hf.space"
HTML = {"accept": "text/html"}


class Identities(BaseHTTPRequestHandler):
    """The provider. `challenges` are the PKCE challenges of its codes, `accounts` those who confirmed them."""

    challenges: dict
    accounts: dict
    url: str

    def log_message(self, format, *args):
        pass

    def do_POST(self):
        form = dict(parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        client = base64.b64decode(self.headers["authorization"].split()[1]).decode()
        good = client == "the-client:the-secret" and form["redirect_uri"] == f"{SPACE}/login/callback"
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        good = good and self.challenges.pop(form["code"], None) == challenge
        self.answer({"access_token": f"token-{form['code']}"} if good else {"error": "invalid_grant"}, good)

    def do_GET(self):
        code = self.headers["authorization"].removeprefix("Bearer token-")
        self.answer({"sub": self.accounts[code], "preferred_username": "anna"}, True)

    def answer(self, content, good):
        body = json.dumps(content).encode()
        self.send_response(200 if good else 400)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def provider():
    handler = type("Handler", (Identities,), {"challenges": {}, "accounts": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def new_browser(provider, monkeypatch):
    """Return a function that returns a browser on the page behind the login."""
    monkeypatch.setattr(visitors, "settings", lambda: Settings(space=True))
    variables = {"OPENID_PROVIDER_URL": provider.url, "OAUTH_CLIENT_ID": "the-client"}
    variables |= {"OAUTH_CLIENT_SECRET": "the-secret", "SPACE_HOST": "me-demo.hf.space"}
    login = Middleware(HubLogin, provider=Provider.from_environment(variables))
    page = Route("/{path:path}", lambda request: PlainTextResponse(f"page of {request.scope['visitor']}"))
    app = Starlette(routes=[page], middleware=[*visitors.cookie_middleware(), login])
    assert TestClient(app, base_url=SPACE).get("/gradio_api/startup-events").status_code == 200  # Gradio's launch()
    return lambda: TestClient(app, base_url=SPACE, follow_redirects=False)


def confirm(provider, browser, account, code):
    """Begin the login, confirm it at the provider, and return the address to come back to."""
    begun = browser.get("/login/huggingface")
    address = urlsplit(begun.headers["location"])
    query = {name: values[0] for name, values in parse_qs(address.query).items()}
    assert begun.status_code == 303 and begun.headers["location"].startswith(f"{provider.url}/oauth/authorize?")
    assert (query["scope"], query["code_challenge_method"]) == ("openid profile", "S256")
    assert query["redirect_uri"] == f"{SPACE}/login/callback"
    provider.challenges[code], provider.accounts[code] = query["code_challenge"], account
    return f"/login/callback?code={code}&state={query['state']}"


def test_without_a_login_there_is_the_login_page_and_nothing_else(new_browser):
    browser = new_browser()
    page = browser.get("/", headers=HTML)
    assert page.status_code == 200 and "/login/huggingface" in page.text and "page of" not in page.text
    for path in ("/config", "/gradio_api/startup-events", "/openapi.json", "/gradio_api/queue/join", "/x", "/"):
        assert browser.get(path).status_code == browser.post(path).status_code == 401


def test_an_account_that_confirms_gets_in_as_one_visitor_on_all_its_devices(provider, new_browser):
    one, other, anna = new_browser(), new_browser(), []
    for browser, code in ((one, "a"), (other, "b")):
        back = browser.get(confirm(provider, browser, "user-1", code))
        assert (back.status_code, back.headers["location"]) == (303, "/")
        anna.append(browser.get("/config").text)
    assert anna == ["page of browser of account user-1"] * 2
    assert "token-a" not in str(one.cookies) and "secret" not in str(one.cookies)
    assert one.get("/logout").status_code == 303
    assert one.get("/config").status_code == 401 and other.get("/config").status_code == 200


def test_forged_and_repeated_answers_do_not_log_in(provider, new_browser):
    thief, victim = new_browser(), new_browser()
    stolen = confirm(provider, thief, "user-1", "a")
    attempts = [  # each begins the login that it needs, because any answer ends the one before
        (victim, lambda: stolen),  # login CSRF: the victim has not begun this login
        (victim, lambda: f"{confirm(provider, victim, 'user-2', 'b')}x"),  # another state
        (victim, lambda: confirm(provider, victim, "user-2", "f") and stolen),
        (thief, lambda: confirm(provider, thief, "user-1", "c").replace("code=c", "code=unknown")),
        (thief, lambda: confirm(provider, thief, "user-1", "d").replace("&state", "&other")),
        (thief, lambda: "/login/callback"),
    ]
    for browser, begin in attempts:
        address = begin()
        answer = browser.get(address, headers=HTML)
        assert answer.status_code == 400 and FAILED in answer.text, address
        assert browser.get("/config").status_code == 401
    once = confirm(provider, thief, "user-1", "e")
    assert thief.get(once).status_code == 303
    assert thief.get(once).status_code == 400, "a code and its state are used up"


def test_attempts_are_limited(provider, new_browser):
    browser = new_browser()
    codes = [browser.get("/login/callback?code=a&state=b").status_code for _ in range(12)]
    assert codes == [400] * 10 + [429] * 2


@pytest.mark.parametrize("missing", ["OPENID_PROVIDER_URL", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "SPACE_HOST"])
def test_without_hf_oauth_the_server_says_what_is_missing(missing):
    names = ("OPENID_PROVIDER_URL", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "SPACE_HOST")
    with pytest.raises(BadInput, match=rf"hf_oauth: true \({missing} is not set\)"):
        Provider.from_environment({name: "x" for name in names if name != missing})


def test_two_logins_exclude_each_other():
    for other in ({"DIFFUSION_DEMO_LOGIN": "a:b"}, {"DIFFUSION_DEMO_MCP": "on"}):
        with pytest.raises(BadInput, match="cannot be combined"):
            Settings.from_environment({"DIFFUSION_DEMO_HF_LOGIN": "on"} | other)
