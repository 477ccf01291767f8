"""Work ends when its visitor leaves, and pixels are decoded by no more threads than the page allows."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.context import LocalContext
from gradio.queueing import Event
from gradio.routes import App
from PIL import Image

from diffusion_demo import data
from diffusion_demo.data import file_errors
from diffusion_demo.errors import BadInput
from diffusion_demo.ui.server import cancellation
from diffusion_demo.ui.server.queue_guard import QueueGuard
from diffusion_demo.ui.settings import Settings, settings


@pytest.fixture
def images(tmp_path):
    for i in range(8):
        Image.new("RGB", (16, 16), (i, 0, 0)).save(tmp_path / f"{i}.png")
    return tmp_path


@pytest.fixture
def event():
    """A call in Gradio's queue, as the handler that runs it sees it."""
    with gr.Blocks() as page:
        button = gr.Button()
        button.click(lambda: None, None, None)
    page.queue()
    call = Event("session", next(iter(page.fns.values())), SimpleNamespace(), None)  # pyright: ignore[reportArgumentType]
    page._queue.event_ids_to_events[call._id] = call
    tokens = LocalContext.blocks.set(page), LocalContext.event_id.set(call._id)
    yield call
    LocalContext.blocks.reset(tokens[0])
    LocalContext.event_id.reset(tokens[1])


def test_a_scan_ends_at_the_next_image_when_its_visitor_leaves(images, event):
    budget, seen = cancellation.scan_deadline(), []

    def progress(done: int, total: int) -> None:
        seen.append(done)
        event.alive = done < 3
        budget()

    with pytest.raises(BadInput, match="has left"):
        data.scan(images, progress=progress)
    assert seen == [1, 2, 3]


def test_a_scan_on_a_public_page_ends_after_its_seconds(images, event, monkeypatch):
    monkeypatch.setattr(cancellation, "settings", lambda: Settings(public=True))
    monkeypatch.setattr(cancellation, "PUBLIC_SCAN_SECONDS", 0.0)
    budget = cancellation.scan_deadline()
    with pytest.raises(BadInput, match="take longer"):
        data.scan(images, progress=lambda done, total: budget())
    monkeypatch.setattr(cancellation, "settings", settings)
    data.scan(images, progress=lambda done, total: budget())


def test_as_many_threads_decode_at_once_as_allowed(monkeypatch):
    monkeypatch.setattr(file_errors._Decoding, "slots", None)
    file_errors.limit_decoding_threads(2)
    inside, most, ready = 0, 0, threading.Barrier(6)
    lock = threading.Lock()

    def decode() -> None:
        nonlocal inside, most
        ready.wait()
        with file_errors.decoding():
            with lock:
                inside += 1
                most = max(most, inside)
            threading.Event().wait(0.01)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=decode) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


def test_an_event_may_end_and_be_canceled_at_the_same_time():
    with gr.Blocks() as page:
        button = gr.Button()
        button.click(lambda: None, None, None)
    page.queue()
    QueueGuard(page._queue)
    app = App.create_app(page)
    page._queue.set_server_app(app)

    async def frames():
        yield "a frame"

    async def end_twice():
        app.iterators["event"] = frames()
        await asyncio.gather(page._queue.reset_iterators("event"), page._queue.reset_iterators("event"))

    with ThreadPoolExecutor(1) as thread:  # the event loop of Playwright may run in this one
        thread.submit(lambda: asyncio.run(end_twice())).result()
    assert not app.iterators
