"""Payloads made from the schemas of the endpoints, then broken: a valid answer or one sentence, no foreign file."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffusion_demo.ui.page import build
from diffusion_demo.ui.server import schemas
from diffusion_demo.ui.server.visitor_files import upload_folder
from tests.ui.server.payloads import CANARY, payloads

EXAMPLES = 60
opened: list[str] = []  # paths that were opened while a request was checked
watching = False


def _audit(event: str, arguments: tuple) -> None:
    if watching and event == "open" and isinstance(arguments[0], str):
        opened.append(arguments[0])


@pytest.fixture(scope="module")
def page():
    sys.addaudithook(_audit)
    return build()


@pytest.fixture(scope="module")
def own_file(page):
    folder = upload_folder("")  # of a call without a request
    folder.mkdir(exist_ok=True)
    (folder / "own.png").write_bytes(b"pixels")
    return str(folder / "own.png")


def check_call(page, function, data: list) -> None:
    """Preprocess a call as the server does. It returns the inputs, or raises one sentence."""
    global watching
    opened.clear()
    watching = True
    try:
        # In a thread of its own: Playwright's event loop may run in this one.
        with ThreadPoolExecutor(1) as threads:
            threads.submit(asyncio.run, page.preprocess_data(function, data, None)).result()
    except gr.Error as error:
        text = str(error.message)
        assert 10 < len(text) < 300 and "\n" not in text and "Traceback" not in text and str(CANARY) not in text, text
        assert not error.print_exception
    finally:
        watching = False
    own = str(upload_folder("").parent)
    foreign = [path for path in opened if not path.startswith((own, sys.prefix, sys.base_prefix))]
    assert not [path for path in foreign if not path.endswith((".py", ".pyc"))], foreign


def test_broken_payloads_get_one_sentence_and_open_no_foreign_file(page, own_file):
    endpoints = [function for function in page.fns.values() if schemas.is_callable(function) and function.inputs]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    @given(st.data())
    def run(data):
        function = data.draw(st.sampled_from(endpoints))
        inputs = [(block.get_block_name(), block.get_config()) for block in function.inputs]
        check_call(page, function, data.draw(payloads(inputs, own_file)))

    run()
    assert len(endpoints) > 30


def test_the_watch_notices_a_foreign_file(page):
    function = next(f for f in page.fns.values() if schemas.is_callable(f) and f.inputs)

    class Careless:
        async def preprocess_data(self, *arguments):
            CANARY.with_suffix(".py").read_bytes()
            Path("/etc/hostname").read_bytes()

    with pytest.raises(AssertionError, match="hostname"):
        check_call(Careless(), function, [])
