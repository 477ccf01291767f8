"""Servers in processes of their own, with any environment, that can be killed and started again; and visitors who are no browser."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.browser.conftest import ROOT, free_port

# Without SYSTEM=spaces, by which gradio would reload code in a thread that needs the package `spaces`, which only Spaces have.
ON_A_SPACE = {"SPACE_ID": "somebody/diffusion-demo", "HF_HUB_OFFLINE": "1"}


class Server:
    """`python app.py` on a port of its own."""

    def __init__(self, folder: Path, environment: dict[str, str], before: tuple[str, ...] = ()):
        self.runs, self.log, self.before = folder / "runs", folder / "server.txt", before
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = os.environ | {"DIFFUSION_DEMO_RUNS": str(self.runs), "OMP_NUM_THREADS": "1"} | environment

    def start(self) -> None:
        line = [*self.before, sys.executable, "app.py", "--no-browser", "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(line, cwd=ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT)
        for _ in range(600):
            try:
                httpx.get(self.url, timeout=5)
                return
            except httpx.HTTPError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.2)
        raise AssertionError("the server did not start")

    def kill(self, how=signal.SIGKILL) -> None:
        self.process.send_signal(how)
        self.process.wait(30)

    def said(self) -> str:
        return self.log.read_text()


@contextmanager
def serving(folder: Path, environment: dict[str, str], before: tuple[str, ...] = ()):
    """A server for the length of the block, which must not have printed a traceback."""
    server = Server(folder, environment, before)
    server.start()
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill(signal.SIGTERM)
    assert "Traceback" not in server.said(), server.said()


class Visitor:
    """Somebody who talks to the page's endpoints without the page. address: where a proxy says that they are."""

    def __init__(self, url: str, address: str = "203.0.113.1"):
        self.http = httpx.Client(base_url=url, headers={"x-forwarded-for": address}, timeout=60)
        self.session = uuid.uuid4().hex
        self.heard: list[dict] = []  # what the last call has brought so far
        self.times: list[float] = []  # and when
        self.config = self.http.get("/config").json()
        self.components = {component["id"]: component for component in self.config["components"]}
        self.functions = {d["id"]: d for d in self.config["dependencies"] if d["backend_fn"]}

    def number_of(self, name: str) -> int:
        """The number of the endpoint of that name."""
        return next(number for number, d in self.functions.items() if d["api_name"] == name)

    def usual(self, number: int) -> list:
        """What the page would send at first."""
        return [self.components[i]["props"].get("value") for i in self.functions[number]["inputs"]]

    def call(self, number: int, data: list, event_data=None, most_seconds: float = 60) -> "Answer":
        """Join the queue and listen to the end, or give up and leave after most_seconds."""
        asked = {
            "data": data,
            "fn_index": number,
            "session_hash": self.session,
            "event_data": event_data,
            "trigger_id": None,
        }
        joined = self.http.post(
            "/gradio_api/queue/join", content=json.dumps(asked), headers={"content-type": "application/json"}
        )
        if joined.status_code != 200:
            return Answer(joined.status_code, joined.text, [])
        event, texts, messages, end = joined.json()["event_id"], [], [], time.monotonic() + most_seconds
        self.heard, self.times = messages, [time.monotonic()]
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    texts.append(line)
                    message = json.loads(line[6:])
                    if message["msg"] != "heartbeat":
                        self.times.append(time.monotonic())
                    if message.get("event_id") in (None, event):
                        messages.append(message)
                    if message["msg"] in ("process_completed", "close_stream", "unexpected_error"):
                        break
                if time.monotonic() > end:
                    self.http.post(
                        "/gradio_api/cancel", json={"session_hash": self.session, "fn_index": number, "event_id": event}
                    )
                    break
        return Answer(200, "\n".join(texts), messages)

    def sample(self, images: int = 1, steps: int = 2, seed: int = 1) -> "Answer":
        """Images of the bundled model."""
        number = self.number_of("sample")
        named = {"Model": "avatars-32", "Class": "mixed", "Images": images, "Steps": steps, "Seed": seed, "Guidance": 1}
        labels = [self.components[i]["props"].get("label") for i in self.functions[number]["inputs"]]
        return self.call(
            number, [named.get(label, value) for label, value in zip(labels, self.usual(number), strict=True)]
        )


class Answer:
    """What came back: the HTTP status, all of the text, and the queue's messages."""

    def __init__(self, status: int, text: str, messages: list[dict]):
        self.status, self.text, self.messages = status, text, messages

    @property
    def completed(self) -> dict:
        return next((m for m in reversed(self.messages) if m["msg"] == "process_completed"), {})

    @property
    def succeeded(self) -> bool:
        return bool(self.completed.get("success"))

    @property
    def error(self) -> str | None:
        """The sentence that a person reads."""
        return (self.completed.get("output") or {}).get("error")
