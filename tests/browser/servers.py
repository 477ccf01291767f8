"""Servers in subprocesses with custom environments, and clients that call the endpoints without a browser."""

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

# SYSTEM=spaces is not set, as it would start a Gradio reload thread that needs the package `spaces`.
ON_A_SPACE = {"SPACE_ID": "somebody/diffusion-demo", "HF_HUB_OFFLINE": "1"}


class Server:
    """`python app.py` on a free port. `command_prefix` precedes the command."""

    def __init__(self, folder: Path, environment: dict[str, str], command_prefix: tuple[str, ...] = ()):
        self.runs, self.log, self.command_prefix = folder / "runs", folder / "server.txt", command_prefix
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # A page that another test built in this process has left its temporary folder there.
        inherited = {name: value for name, value in os.environ.items() if name != "GRADIO_TEMP_DIR"}
        self.environment = inherited | {"DIFFUSION_DEMO_RUNS": str(self.runs), "OMP_NUM_THREADS": "1"} | environment

    def start(self) -> None:
        """Start the server and wait until it answers."""
        app = [sys.executable, "app.py", "--no-browser", "--host", "127.0.0.1", "--port", str(self.port)]
        line = [*self.command_prefix, *app]
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

    def kill(self, signal_number=signal.SIGKILL) -> None:
        """Send a signal to the server and wait until it exits."""
        self.process.send_signal(signal_number)
        self.process.wait(30)

    def log_text(self) -> str:
        """Return everything that the server has printed."""
        return self.log.read_text()


@contextmanager
def serving(folder: Path, environment: dict[str, str], command_prefix: tuple[str, ...] = ()):
    """Run a server during the block. It must not log a traceback."""
    server = Server(folder, environment, command_prefix)
    server.start()
    try:
        yield server
    finally:
        log = server.log_text()  # before SIGTERM, which may abort a request
        if server.process.poll() is None:
            server.kill(signal.SIGTERM)
    assert "Traceback" not in log, log


class Visitor:
    """A client of the page's endpoints. `address` is the IP address in the X-Forwarded-For header."""

    def __init__(self, url: str, address: str = "203.0.113.1"):
        self.http = httpx.Client(base_url=url, headers={"x-forwarded-for": address}, timeout=60)
        self.session = uuid.uuid4().hex
        self.messages: list[dict] = []  # received so far by the last call
        self.times: list[float] = []  # at which they were received, after the start time
        self.config = self.http.get("/config").json()
        self.components = {component["id"]: component for component in self.config["components"]}
        self.functions = {d["id"]: d for d in self.config["dependencies"] if d["backend_fn"]}

    def number_of(self, name: str) -> int:
        """Return the number of the endpoint with this name."""
        return next(number for number, d in self.functions.items() if d["api_name"] == name)

    def initial_inputs(self, number: int) -> list:
        """Return the initial inputs of an endpoint."""
        return [self.components[i]["props"].get("value") for i in self.functions[number]["inputs"]]

    def call(self, number: int, data: list, event_data=None, timeout: float = 60) -> "Answer":
        """Call an endpoint and wait for the end of its messages. The call is canceled after `timeout` seconds."""
        request = {
            "data": data,
            "fn_index": number,
            "session_hash": self.session,
            "event_data": event_data,
            "trigger_id": None,
        }
        response = self.http.post(
            "/gradio_api/queue/join", content=json.dumps(request), headers={"content-type": "application/json"}
        )
        if response.status_code != 200:
            return Answer(response.status_code, response.text, [])
        event, texts, messages, end = response.json()["event_id"], [], [], time.monotonic() + timeout
        self.messages, self.times = messages, [time.monotonic()]
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

    def sample(self, images: int = 1, steps: int = 2, seed: int = 1, timeout: float = 60) -> "Answer":
        """Sample from the bundled model. The call is canceled after `timeout` seconds."""
        number = self.number_of("sample")
        named = {"Model": "avatars-32", "Class": "mixed", "Images": images, "Steps": steps, "Seed": seed, "Guidance": 1}
        labels = [self.components[i]["props"].get("label") for i in self.functions[number]["inputs"]]
        inputs = zip(labels, self.initial_inputs(number), strict=True)
        return self.call(number, [named.get(label, value) for label, value in inputs], timeout=timeout)


class Answer:
    """Result of a call: HTTP status, raw text and queue messages."""

    def __init__(self, status: int, text: str, messages: list[dict]):
        self.status, self.text, self.messages = status, text, messages

    @property
    def completed(self) -> dict:
        """The last message of the call, or an empty dict."""
        return next((m for m in reversed(self.messages) if m["msg"] == "process_completed"), {})

    @property
    def succeeded(self) -> bool:
        """Whether the call ended without an error."""
        return bool(self.completed.get("success"))

    @property
    def error(self) -> str | None:
        """The error message shown on the page, or None."""
        return (self.completed.get("output") or {}).get("error")
