"""The rate limit, and the visitors and addresses that it counts."""

import gradio as gr
import pytest
from starlette.requests import Request

from diffusion_demo.ui.server import visitors
from diffusion_demo.ui.server.limits import VISITORS_PER_ADDRESS, RateLimiter
from diffusion_demo.ui.settings import Settings


def request(visitor: str, address: str, forwarded_for: str = "") -> gr.Request:
    headers = [(b"x-forwarded-for", forwarded_for.encode())] if forwarded_for else []
    return gr.Request(Request({"type": "http", "visitor": visitor, "client": (address, 1), "headers": headers}))


def test_a_visitor_has_a_number_of_calls_and_others_have_their_own():
    limiter = RateLimiter(3)
    for _ in range(3):
        limiter.count(request("a", "1.1.1.1"))
    with pytest.raises(gr.Error, match="Too many requests"):
        limiter.count(request("a", "1.1.1.1"))
    limiter.count(request("b", "1.1.1.1"))


def test_new_cookies_buy_no_more_calls_than_an_address_has():
    limiter = RateLimiter(3)
    for i in range(3 * VISITORS_PER_ADDRESS):
        limiter.count(request(f"cookie {i}", "1.1.1.1"))
    with pytest.raises(gr.Error, match="Too many requests"):
        limiter.count(request("another cookie", "1.1.1.1"))
    limiter.count(request("b", "8.8.8.8"))


@pytest.mark.parametrize(
    ("forwarded_for", "address"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("8.8.8.8, 1.1.1.1", "1.1.1.1"),
        ("8.8.8.8, 1.1.1.1, 10.0.0.7", "1.1.1.1"),
        ("8.8.8.8, nonsense", "8.8.8.8"),
        ("10.0.0.7", "172.16.0.1"),
        ("", "172.16.0.1"),
    ],
)
def test_on_a_space_the_address_is_the_last_public_one_which_a_visitor_cannot_forge(
    monkeypatch, forwarded_for, address
):
    sent = request("a", "172.16.0.1", forwarded_for)
    assert visitors.address_of(sent) == "172.16.0.1", "elsewhere, the header says nothing"
    monkeypatch.setattr(visitors, "settings", lambda: Settings(space=True))
    assert visitors.address_of(sent) == address
