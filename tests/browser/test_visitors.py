"""Many people on one public page: nobody gets what is another's, everybody waits in sight and in turn, and a run is its owner's."""

import io
import threading
import time
import uuid

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from diffusion_demo.ui.server.fair_queue import FairQueue
from diffusion_demo.ui.settings import SESSIONS
from tests.browser.servers import ON_A_SPACE, Visitor, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory, trained_run):
    folder = tmp_path_factory.mktemp("visitors")
    told = {
        "DIFFUSION_DEMO_TRAINING": "on",
        "DIFFUSION_DEMO_WATCH": "off",
        "DIFFUSION_DEMO_CALLS_A_MINUTE": "100",
        "DIFFUSION_DEMO_DISK_GB": "1",
    }
    with serving(folder, ON_A_SPACE | told) as server:
        yield server


def pixels(visitor: Visitor, answer) -> list[bytes]:
    """The finished images as the visitor may fetch them."""
    files = [item["image"]["path"] for item in answer.completed["output"]["data"][1]]
    return [
        np.asarray(Image.open(io.BytesIO(visitor.http.get(f"/gradio_api/file={path}").content))).tobytes()
        for path in files
    ]


def test_everybody_gets_the_images_of_their_own_seed(server):
    """Eight at once, and what each got is what one alone gets of the same seed."""
    alone = Visitor(server.url)
    expected = {seed: pixels(alone, alone.sample(seed=seed)) for seed in range(8)}
    assert len({made_images[0] for made_images in expected.values()}) == 8
    got = {}

    def visit(seed: int) -> None:
        visitor = Visitor(server.url, f"198.51.100.{seed}")
        got[seed] = pixels(visitor, visitor.sample(seed=seed))

    visits = [threading.Thread(target=visit, args=(seed,)) for seed in range(8)]
    for visit_ in visits:
        visit_.start()
    for visit_ in visits:
        visit_.join()
    assert got == expected


def test_who_waits_reads_how_many_are_before(server):
    first, second, answers = Visitor(server.url, "198.51.100.1"), Visitor(server.url, "198.51.100.2"), []
    long = threading.Thread(target=lambda: answers.append(first.sample(images=2, steps=60)))
    long.start()
    while long.is_alive() and "Working" not in str(first.heard):
        time.sleep(0.01)
    waited = second.sample(seed=5)
    long.join()
    assert "Waiting: 1 before you." in waited.text and waited.succeeded and answers[0].succeeded


def test_the_oldest_visits_are_forgotten_and_such_a_visitor_is_served_as_a_new_one(server):
    first, stranger = Visitor(server.url, "198.51.100.3"), Visitor(server.url)
    assert first.sample(seed=5).succeeded
    list_runs, memory = stranger.number_of("list_runs"), [psutil.Process(server.process.pid).memory_info().rss]
    for _ in range(2):
        for i in range(SESSIONS):
            stranger.session = uuid.uuid4().hex
            stranger.http.headers["x-forwarded-for"] = f"192.0.2.{i}"
            assert stranger.call(list_runs, [""]).succeeded
        memory.append(psutil.Process(server.process.pid).memory_info().rss)
    assert memory[2] - memory[1] < (memory[1] - memory[0]) / 3, memory
    assert pixels(first, first.sample(seed=5)) == pixels(stranger, stranger.sample(seed=5))


def test_first_requests_come_before_second_ones():
    turns, order, started = FairQueue(most=10), [], threading.Event()

    def take(name: str, visitor: str, ready: threading.Event) -> None:
        with turns.ticket(visitor, visitor) as places:
            for _ in places:
                ready.set()
            ready.set()
            started.wait()
            order.append(name)

    threads = []
    for name, visitor in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c")):
        ready = threading.Event()
        threads.append(threading.Thread(target=take, args=(name, visitor, ready)))
        threads[-1].start()
        assert ready.wait(10)
    started.set()
    for thread in threads:
        thread.join(10)
    assert order[0] == "a1" and set(order[1:3]) == {"b1", "c1"} and order[3] == "a2"


def test_no_more_than_the_bound_may_wait_and_who_leaves_makes_room():
    import gradio as gr

    turns = FairQueue(most=2)
    with turns.ticket("a", "1") as mine:
        assert list(mine) == []
        with turns.ticket("b", "2") as places:
            assert next(places) == 1
            with turns.ticket("c", "3"), pytest.raises(gr.Error, match="Too many people"), turns.ticket("d", "4"):
                pass
            with pytest.raises(gr.Error, match="still in the making"), turns.ticket("a", "1"), turns.ticket("a", "1"):
                pass
    with turns.ticket("d", "4") as places:
        assert list(places) == []


def test_too_many_calls_are_refused_with_a_sentence_and_only_the_callers(server):
    greedy, other = Visitor(server.url, "198.51.100.50"), Visitor(server.url, "198.51.100.51")
    errors = {greedy.call(greedy.number_of("random_seed"), []).error for _ in range(110)}
    assert errors == {None, "Too much was asked for at once; wait a minute."}
    assert other.call(other.number_of("random_seed"), []).succeeded


@pytest.fixture
def owned(server, tmp_path):
    """A run that a visitor started in the browser's stead, with the secret of its owner."""
    owner = Visitor(server.url, "198.51.100.60")
    refresh = owner.number_of("_refresh")
    held = owner.call(refresh, [None, ""]).completed["output"]["data"][2]
    found = owner.call(owner.number_of("scan_synthetic"), owner.usual(owner.number_of("scan_synthetic")))
    assert found.succeeded and len(held) > 30
    number = owner.number_of("start")
    data = owner.usual(number)
    data[0], data[2], data[3] = held, "a new tiny network", "A first look, 3 minutes"
    started = owner.call(number, data, most_seconds=120)
    assert started.succeeded, started.text[-500:]
    name = started.completed["output"]["data"][0]["value"]
    yield owner, held, name
    owner.call(owner.number_of("stop_run"), [name, held])


def test_a_run_is_seen_and_stopped_by_its_owner_alone(server, owned):
    owner, held, name = owned
    other = Visitor(server.url, "198.51.100.61")
    theirs = other.call(other.number_of("_refresh"), [None, ""]).completed["output"]["data"]
    assert name not in str(theirs[0]) and theirs[2] != held
    assert name not in other.http.get("/config").text
    stop = other.number_of("stop_run")
    for guess in (theirs[2], "", held[:-1], held.swapcase()):
        assert not other.call(stop, [name, guess]).succeeded
    assert held not in (server.runs / name / "owner").read_text()
    again = owner.call(owner.number_of("_refresh"), [None, held]).completed["output"]["data"]
    assert name in str(again[0]) and again[2] == held
    refused = other.call(other.number_of("start"), [theirs[2], *other.usual(other.number_of("start"))[1:]])
    assert refused.error == "Drop some images first."
    assert owner.call(stop, [name, held]).succeeded


def test_with_a_login_nothing_is_had_without_it(tmp_path):
    with serving(tmp_path, ON_A_SPACE | {"DIFFUSION_DEMO_LOGIN": "me:secret"}) as server:
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


def test_ones_own_machine_answers_only_to_its_own_name(url):
    assert httpx.get(url).status_code == 200
    assert httpx.get(url, headers={"host": "evil.example"}).status_code == 400
