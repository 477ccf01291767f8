"""Ownership of runs. The owner's browser keeps a secret token, and the run folder keeps its hash.

Ownership is not enforced on a local page.
"""

import hashlib
import hmac
import os
import secrets
import threading
from collections import OrderedDict
from typing import TypeGuard

import gradio as gr
from gradio.context import LocalContext

from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.server.visitors import visitor_of
from diffusion_demo.ui.settings import settings
from diffusion_demo.untrusted_files import read_regular

OWNER_FILE = "owner"
MAX_VISITORS = 1000  # whose runs are remembered
TOKEN_BYTES = 32  # of randomness; the text is longer


_shown_runs: OrderedDict[str, set[str]] = OrderedDict()  # names of the visitor's own runs, by visitor
_lock = threading.Lock()


def browser_token_component() -> gr.BrowserState:
    """Return the component that keeps the token in the browser, across page reloads and server restarts."""
    # `secret` encrypts the token in the browser's storage. A fixed value keeps it readable after a server restart.
    return gr.BrowserState("", storage_key="diffusion-demo-owner", secret="diffusion-demo")


def valid_or_new_token(owner_token: object) -> str:
    """Return the browser's token if it is valid, else a new one."""
    return owner_token if is_token(owner_token) else secrets.token_urlsafe(TOKEN_BYTES)


def claim(run: RunFolder, owner_token: object) -> None:
    """Make the browser with this token the owner of the run."""
    if is_token(owner_token):
        run.path.mkdir(parents=True, exist_ok=True)
        (run.path / OWNER_FILE).write_text(_hash(owner_token) + "\n", encoding="ascii")


def owns(run: RunFolder, owner_token: object) -> bool:
    """Return whether this browser may stop, continue, download and delete the run."""
    if not settings().public:
        return True
    file = run.path / OWNER_FILE
    if not is_token(owner_token) or not os.path.isfile(file):
        return False
    try:
        stored_hash = read_regular(file, 1000).strip()
    except OSError:
        return False
    is_owner = hmac.compare_digest(stored_hash, _hash(owner_token).encode())
    if is_owner:
        _remember(run)
    return is_owner


def can_view(run: RunFolder, owner_token: object = None) -> bool:
    """Return whether this visitor may see and name the run and its models: the one answer for all parts of the page.

    Where others' runs are hidden, that is the owner, by the token or by an earlier request with it.
    """
    if not settings().public or settings().watch or owns(run, owner_token):
        return True
    with _lock:
        return run.path.name in _shown_runs.get(_current_browser(), ())


def _remember(run: RunFolder) -> None:
    """Remember that the current visitor has proved to own a run. Visitors without a cookie share an address."""
    browser = _current_browser()
    if not browser:
        return
    with _lock:
        _shown_runs.setdefault(browser, set()).add(run.path.name)
        _shown_runs.move_to_end(browser)
        while len(_shown_runs) > MAX_VISITORS:
            _shown_runs.popitem(last=False)


def _current_browser() -> str:
    visitor = visitor_of(LocalContext.request.get(None))
    return visitor if visitor.startswith("browser ") else ""


def check_owner(run: RunFolder, owner_token: object) -> None:
    """Raise gr.Error if the run belongs to another visitor."""
    if not owns(run, owner_token):
        raise gr.Error(
            "This run belongs to another visitor. You can view it, but not change or download it.",
            print_exception=False,
        )


def is_token(value: object) -> TypeGuard[str]:
    """Return whether a value is a well-formed browser token."""
    return isinstance(value, str) and TOKEN_BYTES <= len(value) <= 2 * TOKEN_BYTES and value.isascii()


def _hash(owner_token: str) -> str:
    return hashlib.sha256(owner_token.encode()).hexdigest()
