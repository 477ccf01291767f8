"""Payloads made from the schemas of the endpoints, then broken: a valid answer or one sentence, no foreign file."""

import asyncio
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffusion_demo.ui.page import build
from diffusion_demo.ui.server import schemas
from diffusion_demo.ui.server.visitor_files import upload_folder

META = {"_type": "gradio.FileData"}
CANARY = Path(__file__).resolve()  # a file of this machine that no request may open
SHORT, LONG = 60, 20_000
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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def files(own: str) -> st.SearchStrategy:
    paths = st.sampled_from([own, str(CANARY), "/etc/passwd", "/dev/zero", f"{own}/../own.png", "app.py", "", "\x00"])
    metas = st.sampled_from([META, None, {}, {"_type": "x"}])
    urls = st.sampled_from([None, "http://127.0.0.1:9/x", f"/gradio_api/file={CANARY}"])
    return st.fixed_dictionaries({"path": paths}, optional={"meta": metas, "url": urls, "is_stream": st.booleans()})


def values(block, own: str) -> st.SearchStrategy:
    """Return values near those that an input accepts, and values that have nothing to do with it."""
    near: list = [st.none(), JSON, files(own), st.lists(files(own), max_size=3)]
    if hasattr(block, "choices"):
        choices = [value for _, value in block.choices] or [""]
        near += [st.sampled_from(choices), st.lists(st.sampled_from(choices), max_size=len(choices) + 2)]
    if hasattr(block, "minimum"):
        low, high = block.minimum or 0, block.maximum or 100
        near += [st.floats(low, high), st.integers(int(low) - 1, int(high) + 1), st.sampled_from([low, high])]
    if not block.stateful and isinstance(block, gr.Textbox | gr.ColorPicker | gr.BrowserState):
        near.append(st.text(max_size=schemas.MAX_TEXT + 1))
    return st.one_of(near)


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


def fuzz(page, own_file: str, examples: int) -> int:
    callable_ones = [function for function in page.fns.values() if schemas.is_callable(function) and function.inputs]

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    @given(st.data())
    def run(data):
        function = data.draw(st.sampled_from(callable_ones))
        inputs = [
            data.draw(st.just(block.value) | values(block, own_file)) if data.draw(st.booleans()) else block.value
            for block in function.inputs
        ]
        check_call(page, function, inputs[: data.draw(st.sampled_from([len(inputs), len(inputs), len(inputs) - 1]))])

    run()
    return len(callable_ones)


def test_broken_payloads_get_one_sentence_and_open_no_foreign_file(page, own_file):
    assert fuzz(page, own_file, SHORT) > 30


def test_the_watch_notices_a_foreign_file(page):
    function = next(f for f in page.fns.values() if schemas.is_callable(f) and f.inputs)

    class Careless:
        async def preprocess_data(self, *arguments):
            CANARY.with_suffix(".py").read_bytes()
            Path("/etc/hostname").read_bytes()

    with pytest.raises(AssertionError, match="hostname"):
        check_call(Careless(), function, [])


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_broken_payloads_for_an_hour(page, own_file):
    """Figures of a run: pytest -m slow -s -k for_an_hour, with FUZZ_SECONDS to change its length."""
    import psutil

    process, started, rounds = psutil.Process(), time.monotonic(), 0
    fuzz(page, own_file, SHORT)
    before = process.memory_info().rss
    while time.monotonic() - started < float(os.environ.get("FUZZ_SECONDS", "3600")):
        endpoints, rounds = fuzz(page, own_file, LONG // 20), rounds + 1
    after = process.memory_info().rss
    print(f"{endpoints} endpoints, {rounds * LONG // 20} payloads, {before / 1e6:.0f} -> {after / 1e6:.0f} MB")
    assert after < 1.1 * before + 50_000_000
