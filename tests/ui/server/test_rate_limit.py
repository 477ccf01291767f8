"""The rate limits, and the visitors and addresses that they count."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from diffusion_demo.ui.server import rate_limit, visitors
from diffusion_demo.ui.server.rate_limit import (
    FILES_PER_CALL,
    VISITORS_PER_ADDRESS,
    WINDOW_SECONDS,
    AddressLimit,
    RateLimiter,
)
from diffusion_demo.ui.settings import Settings


def request(visitor: str, address: str, forwarded_for: str = "") -> gr.Request:
    headers = [(b"x-forwarded-for", forwarded_for.encode())] if forwarded_for else []
    return gr.Request(Request({"type": "http", "visitor": visitor, "client": (address, 1), "headers": headers}))


def test_each_caller_has_a_number_of_calls_a_minute(monkeypatch):
    limiter, now = RateLimiter(3), 1000.0
    monkeypatch.setattr(rate_limit.time, "monotonic", lambda: now)
    assert [limiter.allow("a") for _ in range(5)] == [True, True, True, False, False]
    assert limiter.allow("b")
    now += WINDOW_SECONDS + 1
    assert limiter.allow("a")


def statuses(limit: AddressLimit, address: str, path: str, count: int) -> list[int | None]:
    """Return the status codes of requests of an address; None for those that are passed on."""
    scope = {"type": "http", "method": "GET", "path": path, "client": (address, 1), "headers": []}
    found: list[int | None] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            found[-1] = message["status"]

    async def send_all() -> None:
        for _ in range(count):
            found.append(None)
            await limit(scope, receive, send)

    with ThreadPoolExecutor(1) as pool:  # a pytest worker that started a browser already has an event loop
        pool.submit(asyncio.run, send_all()).result()
    return found


def test_an_address_has_a_number_of_calls_and_one_of_files():
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    limit, calls = AddressLimit(page, 2), 2 * VISITORS_PER_ADDRESS
    assert statuses(limit, "1.1.1.1", "/config", calls + 2) == [None] * calls + [429, 429]
    assert statuses(limit, "1.1.1.1", "/assets/index.js", calls + 2) == [None] * (calls + 2)
    assert statuses(limit, "1.1.1.1", "/assets/index.js", calls * FILES_PER_CALL)[-1] == 429
    assert statuses(limit, "8.8.8.8", "/config", 1) == [None]


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
