"""Broken payloads against a running server: one sentence, no foreign file, and other visitors are still served."""

import os
import statistics
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffusion_demo.ui.server.housekeeping import INTERVAL_SECONDS
from tests.browser.conftest import ROOT
from tests.browser.servers import ON_A_SPACE, Server, Visitor, serving
from tests.ui.server.payloads import CANARY, JSON, payloads

AUDITED = Path(__file__).parent / "audited"
LEAKS = ("Traceback", "root:x:0:", "site-packages", CANARY.read_text(encoding="utf-8").splitlines()[0])
EXAMPLES = 200  # of one round
CALLS_ALONE = 20  # of the second visitor, before the first payload
CALL_SECONDS = 1  # after which a call is canceled


@pytest.fixture
def server(tmp_path):
    """A public page with training, whose opened files are listed in `opened.txt` of its folder."""
    (tmp_path / "temporary").mkdir()
    environment = ON_A_SPACE | {
        "DIFFUSION_DEMO_TRAINING": "on",
        "DIFFUSION_DEMO_CALLS_A_MINUTE": "100000",
        "AUDIT_FILE": str(tmp_path / "opened.txt"),
        "PYTHONPATH": str(AUDITED),
        "TMPDIR": str(tmp_path / "temporary"),
    }
    with serving(tmp_path, environment) as server:
        yield server


def opened_files(server: Server) -> list[str]:
    return (server.runs.parent / "opened.txt").read_text(errors="surrogateescape").splitlines()


def is_foreign(path: str, server: Server) -> bool:
    """Return whether a path lies outside the server's own folders, its packages and those of the system."""
    own = (server.runs.parent, ROOT / "checkpoints", ROOT / "diffusion_demo", sys.prefix, sys.base_prefix)
    return not os.path.realpath(path).startswith((*map(str, own), "/proc/", "/sys/", "/usr/", "/dev/null"))


class SecondVisitor(threading.Thread):
    """Samples one image after the other from another address, until told to leave."""

    def __init__(self, url: str):
        super().__init__()
        self.visitor, self.durations, self.failures = Visitor(url, "198.51.100.7"), [], []
        self.leaves = threading.Event()

    def sample(self) -> float:
        """Return the seconds that one image took."""
        began = time.monotonic()
        answer = self.visitor.sample(images=1, steps=4, timeout=60)
        if not answer.succeeded:
            self.failures.append(answer.error or answer.text[-300:])
        return time.monotonic() - began

    def run(self) -> None:
        while not self.leaves.wait(0.5):
            self.durations.append(self.sample())


def send_round(visitor: Visitor, own_file: str, answers: Counter) -> None:
    """Send one round of payloads and check each answer. `answers` counts them by kind."""
    endpoints = {
        number: [(visitor.components[i]["type"], visitor.components[i]["props"]) for i in function["inputs"]]
        for number, function in visitor.functions.items()
    }

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        database=None,
    )
    @given(st.data())
    def send(data):
        number = data.draw(st.sampled_from(sorted(endpoints)))
        answer = visitor.call(
            number, data.draw(payloads(endpoints[number], own_file)), data.draw(JSON), timeout=CALL_SECONDS
        )
        assert not [leak for leak in LEAKS if leak in answer.text], answer.text[:1000]
        if answer.status != 200:
            assert 400 <= answer.status < 500, (answer.status, answer.text[:300])
            answers["refused at the door"] += 1
        elif answer.succeeded:
            answers["answered"] += 1
        elif answer.completed:
            assert answer.error and 10 < len(answer.error) < 300 and "\n" not in answer.error, answer.error
            answers["one sentence"] += 1
        else:
            answers["canceled after a second"] += 1

    send()


def fuzz(server: Server, seconds: float) -> str:
    """Send rounds of payloads for at least so many seconds beside a second visitor, and return the figures."""
    fuzzer, second, answers = Visitor(server.url), SecondVisitor(server.url), Counter()
    image = (ROOT / "docs" / "images" / "sample.png").read_bytes()
    own_file = fuzzer.http.post("/gradio_api/upload", files={"files": ("own.png", image)}).json()[0]
    alone = [second.sample() for _ in range(CALLS_ALONE)]
    send_round(fuzzer, own_file, answers)  # loads what the server needs
    process = psutil.Process(server.process.pid)
    before, known, started = process.memory_info().rss, set(opened_files(server)), time.monotonic()
    second.start()
    try:
        while time.monotonic() - started < seconds:
            send_round(fuzzer, own_file, answers)
    finally:
        second.leaves.set()
        second.join()
    opened = [path for path in opened_files(server) if path not in known]
    assert not [path for path in opened if is_foreign(path, server)], opened
    assert second.durations and not second.failures, second.failures[:3]
    assert fuzzer.http.get("/gradio_api/queue/status").json()["queue_size"] == 0
    if seconds > INTERVAL_SECONDS:
        time.sleep(INTERVAL_SECONDS + 10)  # the server has run its housekeeping by then
        after = process.memory_info().rss
        assert after < 1.1 * before + 50_000_000, (before, after)
    beside, last = second.durations, process.memory_info().rss
    return (
        f"{len(fuzzer.functions)} endpoints, {sum(answers.values())} payloads: {dict(answers)}; "
        f"{len(opened)} more files opened, none foreign; {before / 1e6:.0f} -> {last / 1e6:.0f} MB; "
        f"an image of a second visitor: median {statistics.median(alone):.2f} s alone, "
        f"{statistics.median(beside):.2f} s beside the fuzzer (longest {max(beside):.2f} s of {len(beside)})"
    )


def test_broken_payloads_harm_neither_the_server_nor_a_second_visitor(server):
    print(fuzz(server, 1))


def test_a_foreign_file_is_noticed(server):
    assert is_foreign("/etc/passwd", server) and is_foreign(str(CANARY), server) and is_foreign("app.py", server)
    assert not is_foreign(str(server.runs / "x"), server)
    assert str(ROOT / "app.py") in [os.path.abspath(path) for path in opened_files(server)]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_broken_payloads_for_an_hour(server):
    """Figures of a run: pytest -m slow -s -k for_an_hour, with FUZZ_SECONDS to change its length."""
    print(fuzz(server, float(os.environ.get("FUZZ_SECONDS", "3600"))))
