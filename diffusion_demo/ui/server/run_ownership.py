"""Whose run it is: the browser of who started it keeps a secret, and the run's folder its hash. On one's own machine every run is everybody's."""

import hashlib
import hmac
import secrets

import gradio as gr

from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.settings import settings

FILE = "owner"
LENGTH = 32


def browser() -> gr.BrowserState:
    """The secret, kept in the browser beyond reloads and restarts of the server. Gradio's `secret` here only veils it in there."""
    return gr.BrowserState("", storage_key="diffusion-demo-owner", secret="diffusion-demo")


def secret(held: object) -> str:
    """What the browser holds, or a new one."""
    return held if _is_secret(held) else secrets.token_urlsafe(LENGTH)


def claim(run: RunFolder, held: object) -> None:
    """Write down whose run this is."""
    if _is_secret(held):
        run.path.mkdir(parents=True, exist_ok=True)
        (run.path / FILE).write_text(_hash(held) + "\n", encoding="ascii")


def owns(run: RunFolder, held: object) -> bool:
    """May this browser stop, go on with, download and delete the run?"""
    if not settings().public:
        return True
    file = run.path / FILE
    return (
        _is_secret(held)
        and file.is_file()
        and hmac.compare_digest(file.read_text(encoding="ascii", errors="replace").strip(), _hash(held))
    )


def sees(run: RunFolder, held: object) -> bool:
    """May this browser look at the run?"""
    return settings().watch or owns(run, held)


def check(run: RunFolder, held: object) -> None:
    """Raise a toast where the run is somebody else's."""
    if not owns(run, held):
        raise gr.Error(
            "This run belongs to somebody else: you can watch it, but not change or take it.", print_exception=False
        )


def _is_secret(held: object) -> bool:
    return isinstance(held, str) and LENGTH <= len(held) <= 2 * LENGTH and held.isascii()


def _hash(held: str) -> str:
    return hashlib.sha256(held.encode()).hexdigest()
