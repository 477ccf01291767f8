"""Fixtures of the browser tests: a server in a subprocess, and Chromium."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, Response, expect, sync_playwright

from tests.browser.chromium import chromium_path

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = Path(__file__).parent / "screenshots"
expect.set_options(timeout=30_000)  # long enough for a busy machine
LEAVING = "the page is being left"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def free_port() -> int:
    """Return a free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def open_part(page: Page, name: str) -> None:
    """Open an accordion. Gradio creates its fields when it opens, and input in their first 50 ms is lost."""
    page.get_by_role("button", name=name).first.click()
    page.wait_for_timeout(500)


@pytest.fixture(scope="session")
def url(trained_run, tmp_path_factory):
    """The address of a running server, which must not log a traceback."""
    port = free_port()
    environment = os.environ | {"DIFFUSION_DEMO_RUNS": str(trained_run.parent)}
    log = (tmp_path_factory.mktemp("log") / "server.txt").open("w+")
    server = subprocess.Popen(
        [sys.executable, "app.py", "--no-browser", "--port", str(port)],
        cwd=ROOT,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            break
        except OSError:
            assert server.poll() is None, Path(log.name).read_text()
            time.sleep(0.5)
    yield address
    server.terminate()
    server.wait(20)
    log.seek(0)
    assert "Traceback" not in log.read(), Path(log.name).read_text()


@pytest.fixture(scope="session")
def chromium():
    """The Chromium of the system if there is one, else that of `playwright install chromium`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


def watch(page: Page, url: str, problems: list[str]) -> None:
    """Add console errors, failed responses and requests to other servers to `problems`.

    Console errors while the page is being left do not count: Gradio logs one for each event that a reload aborts.
    """
    leaving = []

    def read_console(message: ConsoleMessage) -> None:
        if message.text == LEAVING:
            leaving.append(message)
        elif message.type == "error" and not leaving:
            problems.append(f"console: {message.text}")

    def check_response(response: Response) -> None:
        if response.status >= 400:
            problems.append(f"{response.status} {response.url}")

    def check_request(request: Request) -> None:
        if not request.url.startswith((url, "data:", "blob:")):
            problems.append(f"external request: {request.url}")

    page.add_init_script(f"addEventListener('beforeunload', () => console.debug('{LEAVING}'))")
    page.on("domcontentloaded", lambda page: leaving.clear())
    page.on("console", read_console)
    page.on("pageerror", lambda error: problems.append(f"page error: {error}"))
    page.on("response", check_response)
    page.on("request", check_request)


@pytest.fixture
def open_page(chromium, url):
    """A function that opens the page in a new context and waits until it is ready.

    The test fails if the console shows an error or the page sends a request to another server.
    """
    contexts, problems = [], []

    def open_one(viewport=DESKTOP, theme="light", query="", script="") -> Page:
        context = chromium.new_context(viewport=viewport, color_scheme=theme, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.add_init_script(script)  # runs before those of the page
        watch(page, url, problems)
        page.goto(f"{url}/?__theme={theme}{query}")
        page.get_by_role("button", name="Generate", exact=True).wait_for(timeout=180_000)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not problems, problems


@pytest.fixture
def kill_trainers_of_the_page(trained_run):
    """Kill trainers at the end of the test, as they outlive the page and the server."""
    yield
    for process in psutil.process_iter(["cmdline"]):
        if (
            str(trained_run.parent) in (line := " ".join(process.info["cmdline"] or []))
            and "diffusion_demo train" in line
        ):
            process.kill()


@pytest.fixture
def inspector(open_page) -> Page:
    """The page with the Inspect tab open."""
    page = open_page(query="&example=lion&schedule=linear")
    page.get_by_role("tab", name="Inspect").click()
    expect(page.locator("#inspector .t-value")).to_have_text("250 of 1000")
    return page
