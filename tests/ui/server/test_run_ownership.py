"""Who may view and change a run on a public page where the runs of others are hidden."""

import secrets

import gradio as gr
import pytest
from gradio.context import LocalContext
from starlette.requests import Request

from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.server import run_ownership
from diffusion_demo.ui.settings import Settings

MINE, OTHER = secrets.token_urlsafe(32), secrets.token_urlsafe(32)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of the browser with the token MINE."""
    settings = Settings(public=True, watch=False)
    monkeypatch.setattr(run_ownership, "settings", lambda: settings)
    monkeypatch.setattr(run_ownership, "_shown_runs", type(run_ownership._shown_runs)())
    run = RunFolder(tmp_path / "run")
    run_ownership.claim(run, MINE)
    return run


@pytest.fixture
def comes(monkeypatch):
    """A function that sets the visitor of the current request."""
    token = LocalContext.request.set(None)

    def come(visitor):
        scope = {"type": "http", "visitor": visitor, "client": ("1.1.1.1", 1), "headers": []}
        LocalContext.request.set(gr.Request(Request(scope)))

    yield come
    LocalContext.request.reset(token)


def test_a_run_belongs_to_its_token_alone_which_the_folder_does_not_hold(run, comes):
    comes("browser a")
    for token in (OTHER, MINE[:-1], MINE.swapcase(), "", None, 5):
        assert not run_ownership.owns(run, token) and not run_ownership.can_view(run, token)
    assert run_ownership.owns(run, MINE)
    assert MINE not in (run.path / run_ownership.OWNER_FILE).read_text()
    assert not run_ownership.owns(RunFolder(run.path.parent), MINE), "a folder without an owner"


def test_a_browser_that_has_shown_its_token_sees_its_run_and_no_other_does(run, comes):
    comes("browser a")
    assert run_ownership.owns(run, MINE) and run_ownership.can_view(run)
    comes("browser b")
    assert not run_ownership.can_view(run)


def test_visitors_without_a_cookie_share_an_address_and_must_show_the_token_each_time(run, comes):
    comes("address 1.1.1.1")
    assert run_ownership.can_view(run, MINE)
    comes("address 1.1.1.1")
    assert not run_ownership.can_view(run)
