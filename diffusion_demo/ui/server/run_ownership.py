"""Ownership of runs. The owner's browser keeps a secret token, and the run folder keeps its hash.

Ownership is not enforced on a local page.
"""

import hashlib
import hmac
import secrets
from typing import TypeGuard

import gradio as gr

from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.settings import settings

OWNER_FILE = "owner"
TOKEN_BYTES = 32  # of randomness; the text is longer


def browser_token_component() -> gr.BrowserState:
    """Return the component that keeps the token in the browser, across page reloads and server restarts."""
    # `secret` encrypts the token in the browser's storage. A fixed value keeps it readable after a server restart.
    return gr.BrowserState("", storage_key="diffusion-demo-owner", secret="diffusion-demo")


def valid_or_new_token(owner_token: object) -> str:
    """Return the browser's token if it is valid, else a new one."""
    return owner_token if _is_token(owner_token) else secrets.token_urlsafe(TOKEN_BYTES)


def claim(run: RunFolder, owner_token: object) -> None:
    """Make the browser with this token the owner of the run."""
    if _is_token(owner_token):
        run.path.mkdir(parents=True, exist_ok=True)
        (run.path / OWNER_FILE).write_text(_hash(owner_token) + "\n", encoding="ascii")


def owns(run: RunFolder, owner_token: object) -> bool:
    """Return whether this browser may stop, continue, download and delete the run."""
    if not settings().public:
        return True
    file = run.path / OWNER_FILE
    if not _is_token(owner_token) or not file.is_file():
        return False
    stored_hash = file.read_text(encoding="ascii", errors="replace").strip()
    return hmac.compare_digest(stored_hash, _hash(owner_token))


def can_view(run: RunFolder, owner_token: object) -> bool:
    """Return whether this browser may view the run."""
    return settings().watch or owns(run, owner_token)


def check_owner(run: RunFolder, owner_token: object) -> None:
    """Raise gr.Error if the run belongs to another visitor."""
    if not owns(run, owner_token):
        raise gr.Error(
            "This run belongs to another visitor. You can view it, but not change or download it.",
            print_exception=False,
        )


def _is_token(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and TOKEN_BYTES <= len(value) <= 2 * TOKEN_BYTES and value.isascii()


def _hash(owner_token: str) -> str:
    return hashlib.sha256(owner_token.encode()).hexdigest()
