"""The order in which visitors are served, by the fair queue and by Gradio's own."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest
from gradio.data_classes import PredictBodyInternal
from starlette.exceptions import HTTPException
from starlette.requests import Request

from diffusion_demo.ui.server.fair_queue import FairQueue
from diffusion_demo.ui.server.input_guard import GuardedBlocks
from diffusion_demo.ui.server.queue_guard import MAX_UNCOLLECTED
from diffusion_demo.ui.settings import Settings


def served(requests: list[tuple[str, str, str]]) -> list[str]:
    """Return the names of requests, given as (name, visitor, address), in the order in which a queue serves them."""
    queue, order, started = FairQueue(max_waiting=100), [], threading.Event()

    def take(name: str, visitor: str, address: str, ready: threading.Event) -> None:
        with queue.ticket(visitor, address) as positions:
            for _ in positions:
                ready.set()
            ready.set()
            started.wait()
            order.append(name)

    threads = []
    for request in requests:
        ready = threading.Event()
        threads.append(threading.Thread(target=take, args=(*request, ready)))
        threads[-1].start()
        assert ready.wait(10)
    started.set()
    for thread in threads:
        thread.join(10)
    return order


def test_first_requests_precede_second_requests():
    order = served([(name, name[0], name[0]) for name in ("a1", "a2", "b1", "c1")])
    assert order[0] == "a1" and set(order[1:3]) == {"b1", "c1"} and order[3] == "a2"


def test_new_cookies_of_one_address_get_four_turns_in_a_round():
    crowd = [(f"attacker {i}", f"cookie {i}", "9.9.9.9") for i in range(20)]
    order = served([*crowd, ("b", "b", "1.1.1.1"), ("c", "c", "2.2.2.2")])
    assert max(order.index("b"), order.index("c")) <= 6, order


@pytest.fixture
def page():
    """A page with one endpoint, whose calls wait in Gradio's queue because nothing starts them."""
    with GuardedBlocks(Settings(public=True)) as page:
        gr.Button().click(lambda: None, api_name="work", concurrency_limit=1)
    return page.queue(max_size=None)


def in_a_thread(scenario: Coroutine) -> None:
    """Run a coroutine in a new thread: a pytest worker that started a browser already has an event loop."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, scenario).result()


async def push(page: GuardedBlocks, visitor: str, address: str, session: str = "") -> None:
    scope = {"type": "http", "visitor": visitor, "client": (address, 1), "headers": []}
    body = PredictBodyInternal(session_hash=session or visitor, fn_index=0, data=[])
    await page._queue.push(body, Request(scope), None)


def test_results_that_nobody_fetches_do_not_displace_those_of_others(page):
    async def scenario() -> None:
        for i in range(MAX_UNCOLLECTED):
            await push(page, "greedy", "1.1.1.1", f"session {i}")
            for calls in page._queue.event_queue_per_concurrency_id.values():
                calls.queue.clear()  # the call has ended
        with pytest.raises(HTTPException, match="too many requests"):
            await push(page, "greedy", "1.1.1.1", "another session")
        await push(page, "greedy", "1.1.1.1", "session 0")
        await push(page, "other", "2.2.2.2")
        kept = page._queue.pending_messages_per_session
        while not kept["session 1"].empty():
            await kept["session 1"].get()
        await push(page, "greedy", "1.1.1.1", "another session")

    in_a_thread(scenario())


def test_a_backlog_of_one_visitor_does_not_delay_another_by_more_than_one_call(page):
    """The calls of Gradio's own queue, started one by one while the other visitor keeps calling."""
    started = []

    def start_next() -> None:
        (waiting,) = page._queue.event_queue_per_concurrency_id.values()
        started.append(waiting.queue.pop(0).request.scope["visitor"])

    async def scenario() -> None:
        for _ in range(20):
            await push(page, "greedy", "1.1.1.1")
        for _ in range(10):
            await push(page, "other", "2.2.2.2")
            start_next()

    in_a_thread(scenario())
    assert started.count("other") == 5, started


def test_the_visitors_of_one_address_may_fill_half_of_the_queue():
    queue = FairQueue(max_waiting=4)
    with queue.ticket("a", "1"), queue.ticket("b", "1"), queue.ticket("c", "1"):
        with pytest.raises(gr.Error, match="queue is full"), queue.ticket("d", "1"):
            pass
        with queue.ticket("e", "2"):
            pass


def test_a_full_queue_rejects_requests_until_one_ends():
    queue = FairQueue(max_waiting=2)
    with queue.ticket("a", "1") as running:
        assert list(running) == []
        with queue.ticket("b", "2") as positions:
            assert next(positions) == 1
            with queue.ticket("c", "3"), pytest.raises(gr.Error, match="queue is full"), queue.ticket("d", "4"):
                pass
            with pytest.raises(gr.Error, match="not finished"), queue.ticket("a", "1"), queue.ticket("a", "1"):
                pass
    with queue.ticket("d", "4") as positions:
        assert list(positions) == []


def test_work_of_a_visitor_who_left_does_not_count_as_theirs():
    queue = FairQueue(max_waiting=100)

    def left() -> bool:
        return True

    with queue.ticket("a", "1", left) as running, queue.ticket("a", "1", left):
        assert list(running) == []
        with queue.ticket("a", "1") as positions:
            assert next(positions) == 2
