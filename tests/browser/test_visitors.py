"""Several visitors of a public page: isolation, the fair queue, rate limits and ownership of runs."""

import io
import re
import threading
import time
import uuid

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image
from playwright.sync_api import expect

from diffusion_demo.ui.server.rate_limit import VISITORS_PER_ADDRESS
from diffusion_demo.ui.settings import MAX_SESSIONS
from tests.browser.conftest import DESKTOP
from tests.browser.servers import ON_A_SPACE, Visitor, serving

SOON = 120_000


@pytest.fixture(scope="module")
def server(tmp_path_factory, trained_run):
    folder = tmp_path_factory.mktemp("visitors")
    limits = {
        "DIFFUSION_DEMO_TRAINING": "on",
        "DIFFUSION_DEMO_WATCH": "off",
        "DIFFUSION_DEMO_CALLS_A_MINUTE": "100",
        "DIFFUSION_DEMO_DISK_GB": "1",
    }
    with serving(folder, ON_A_SPACE | limits) as server:
        yield server


def pixels(visitor: Visitor, answer) -> list[bytes]:
    """Return the pixels of the finished images, downloaded by the visitor."""
    files = [item["image"]["path"] for item in answer.completed["output"]["data"][1]]
    return [
        np.asarray(Image.open(io.BytesIO(visitor.http.get(f"/gradio_api/file={path}").content))).tobytes()
        for path in files
    ]


def test_concurrent_visitors_get_the_images_of_their_own_seeds(server):
    """Eight concurrent visitors get the same images as one visitor with the same seeds."""
    visitor = Visitor(server.url)
    expected = {seed: pixels(visitor, visitor.sample(seed=seed)) for seed in range(8)}
    assert len({images[0] for images in expected.values()}) == 8
    results = {}

    def visit(seed: int) -> None:
        visitor = Visitor(server.url, f"198.51.100.{seed}")
        results[seed] = pixels(visitor, visitor.sample(seed=seed))

    threads = [threading.Thread(target=visit, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == expected


def test_a_waiting_visitor_sees_the_position_in_the_queue(server):
    first, second, answers = Visitor(server.url, "198.51.100.1"), Visitor(server.url, "198.51.100.2"), []
    long_request = threading.Thread(target=lambda: answers.append(first.sample(images=2, steps=60)))
    long_request.start()
    while long_request.is_alive() and "Working" not in str(first.messages):
        time.sleep(0.01)
    waited = second.sample(seed=5)
    long_request.join()
    assert "Waiting: 1 before you." in waited.text and waited.succeeded and answers[0].succeeded


def test_expired_sessions_free_memory_and_continue_to_work(server):
    first, stranger = Visitor(server.url, "198.51.100.3"), Visitor(server.url)
    assert first.sample(seed=5).succeeded
    list_runs, memory = stranger.number_of("list_runs"), [psutil.Process(server.process.pid).memory_info().rss]
    for _ in range(2):
        for i in range(MAX_SESSIONS):
            stranger.session = uuid.uuid4().hex
            stranger.http.headers["x-forwarded-for"] = f"192.0.2.{i}"
            assert stranger.call(list_runs, [""]).succeeded
        memory.append(psutil.Process(server.process.pid).memory_info().rss)
    assert memory[2] - memory[1] < (memory[1] - memory[0]) / 3, memory
    assert pixels(first, first.sample(seed=5)) == pixels(stranger, stranger.sample(seed=5))


def test_the_rate_limit_applies_to_one_visitor_only(server):
    greedy, other = Visitor(server.url, "198.51.100.50"), Visitor(server.url, "198.51.100.51")
    errors = {greedy.call(greedy.number_of("_ask_for_second"), []).error for _ in range(110)}
    assert errors == {None, "Too many requests. Wait a minute and try again."}
    assert other.call(other.number_of("_ask_for_second"), []).succeeded


def test_the_rate_limit_of_an_address_applies_to_all_its_visitors_and_to_refused_requests(server):
    other = Visitor(server.url, "198.51.100.53")
    with httpx.Client(base_url=server.url, headers={"x-forwarded-for": "198.51.100.52"}) as client:
        answers = []
        for _ in range(VISITORS_PER_ADDRESS * 100 + 10):
            answers.append(client.post("/gradio_api/queue/join", content="{"))
            client.cookies.clear()
        asset = client.get("/static/fonts/ui-sans-serif/ui-sans-serif-Regular.woff2")
    assert [answer.status_code for answer in answers[-10:]] == 10 * [429] and asset.status_code != 429
    assert 429 not in [answer.status_code for answer in answers[:-10]]
    assert answers[-1].json()["detail"] == "Too many requests. Wait a minute and try again."
    assert answers[-1].headers["retry-after"] == "60"
    assert other.call(other.number_of("_ask_for_second"), []).succeeded


@pytest.fixture
def owned(server, tmp_path):
    """A visitor who has started a run, the owner token, and the name of the run."""
    owner = Visitor(server.url, "198.51.100.60")
    refresh = owner.number_of("_refresh")
    token = owner.call(refresh, [None, ""]).completed["output"]["data"][2]
    scanned = owner.call(owner.number_of("scan_synthetic"), owner.initial_inputs(owner.number_of("scan_synthetic")))
    assert scanned.succeeded and len(token) > 30, scanned.error
    number = owner.number_of("start")
    data = owner.initial_inputs(number)
    data[0], data[2], data[3] = token, "a new tiny network", "Quick try, 3 min"
    started = owner.call(number, data, timeout=120)
    assert started.succeeded, started.text[-500:]
    name = started.completed["output"]["data"][0]["value"]
    yield owner, token, name
    owner.call(owner.number_of("stop_run"), [name, token])


def test_only_the_owner_can_view_and_stop_a_run(server, owned):
    owner, token, name = owned
    other = Visitor(server.url, "198.51.100.61")
    theirs = other.call(other.number_of("_refresh"), [None, ""]).completed["output"]["data"]
    assert name not in str(theirs[0]) and theirs[2] != token
    assert name not in other.http.get("/config").text
    stop = other.number_of("stop_run")
    for guess in (theirs[2], "", token[:-1], token.swapcase()):
        assert not other.call(stop, [name, guess]).succeeded
    assert token not in (server.runs / name / "owner").read_text()
    again = owner.call(owner.number_of("_refresh"), [None, token]).completed["output"]["data"]
    assert name in str(again[0]) and again[2] == token
    rejected = other.call(other.number_of("start"), [theirs[2], *other.initial_inputs(other.number_of("start"))[1:]])
    assert rejected.error == "No images to train on. Drop some images first."
    assert owner.call(stop, [name, token]).succeeded


@pytest.fixture
def page_of_strangers(chromium, tmp_path):
    """A page of a public server whose visitors may train. Its trainers are killed at the end of the test."""
    with serving(tmp_path, ON_A_SPACE | {"DIFFUSION_DEMO_TRAINING": "on"}) as server:
        page = chromium.new_page(viewport=DESKTOP)
        page.set_default_timeout(SOON)
        page.goto(f"{server.url}/?tab=train")
        yield page
        page.close()
    for process in psutil.process_iter(["cmdline"]):
        if str(tmp_path) in " ".join(process.info["cmdline"] or []):
            process.kill()


def test_a_run_is_still_its_browsers_own_after_a_reload(page_of_strangers):
    page = page_of_strangers
    page.locator("#train-drawn").click()
    expect(page.locator("#train-report")).to_contain_text("400 images", timeout=SOON)
    page.get_by_role("combobox", name="Start from").click()
    page.get_by_role("option", name="New network, tiny", exact=True).click()
    expect(page.locator("#train-start")).to_be_enabled(timeout=SOON)
    page.locator("#train-start").click()
    expect(page.locator("#train-line")).to_contain_text(re.compile(r"Training.*step \d+"), timeout=SOON)
    page.reload()
    expect(page.locator("#train-line")).to_contain_text("Training", timeout=SOON)
    expect(page.locator("#train-stop")).to_be_enabled()
    page.locator("#train-stop").click()
    expect(page.locator("#train-line")).to_contain_text("Stopped", timeout=SOON)


def test_every_route_requires_the_login(tmp_path):
    # not as a Space, whose cookies need HTTPS
    with serving(tmp_path, {"DIFFUSION_DEMO_PUBLIC": "on", "DIFFUSION_DEMO_LOGIN": "me:secret"}) as server:
        for route in ("config", "gradio_api/info", "gradio_api/file=x"):
            assert httpx.get(f"{server.url}/{route}").status_code == 401
        assert (
            httpx.post(
                f"{server.url}/gradio_api/queue/join", json={"data": [], "fn_index": 0, "session_hash": "x"}
            ).status_code
            == 401
        )
        assert httpx.post(f"{server.url}/gradio_api/upload", files={"files": ("a.png", b"x")}).status_code == 401
        with httpx.Client(base_url=server.url) as client:
            assert client.post("/login", data={"username": "me", "password": "wrong"}).status_code == 400
            assert client.post("/login", data={"username": "me", "password": "secret"}).status_code == 200
            assert client.get("/config").status_code == 200


def test_a_local_page_rejects_other_host_names(url):
    assert httpx.get(url).status_code == 200
    assert httpx.get(url, headers={"host": "evil.example"}).status_code == 400
