"""The server and the trainer open no connection to other machines. A Python audit hook logs all connections."""

import os
import subprocess
import sys

import pytest

from tests.browser.conftest import ROOT
from tests.browser.servers import Visitor, serving

HOOK = """
import os, sys
def log(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        where = arguments[0] if event.startswith("socket.get") else arguments[1]
        host = where[0] if isinstance(where, tuple) else where
        if host not in (None, "", "localhost", "::1", "0.0.0.0") and not str(host).startswith(("127.", "/")):
            with open(os.environ["CONNECTIONS"], "a") as file:
                print(event, host, file=file)
sys.addaudithook(log)
"""


@pytest.fixture
def audited(tmp_path):
    """An environment whose Python processes log their connections, and the path of the log."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("HF_HUB_OFFLINE", "GRADIO_ANALYTICS_ENABLED", "TRANSFORMERS_OFFLINE")
    }
    file = tmp_path / "connections.txt"
    return environment | {"PYTHONPATH": f"{tmp_path / 'hook'}:{ROOT}", "CONNECTIONS": str(file)}, file


def test_the_hook_logs_connections_and_dns_lookups(audited):
    environment, file = audited
    attempts = "import socket; s = socket.socket(); s.settimeout(0.01)\n"
    attempts += (
        "for attempt in (lambda: s.connect(('192.0.2.1', 9)), lambda: socket.getaddrinfo('nowhere.invalid', 80)):\n"
    )
    attempts += "    try: attempt()\n    except OSError: pass"
    subprocess.run([sys.executable, "-c", attempts], env=environment, check=True)
    assert file.read_text().splitlines() == ["socket.connect 192.0.2.1", "socket.getaddrinfo nowhere.invalid"]


def test_the_server_opens_no_external_connection(audited, tmp_path):
    environment, file = audited
    with serving(tmp_path, environment) as server:
        visitor = Visitor(server.url)
        assert visitor.sample().succeeded
        for name in ("inspect", "show_lesson", "scan_synthetic", "_refresh", "_open_models", "list_runs"):
            assert visitor.call(visitor.number_of(name), visitor.initial_inputs(visitor.number_of(name))).succeeded, (
                name
            )
    assert not file.exists(), file.read_text()


def test_a_trainer_opens_no_external_connection(audited, digits, tiny, tmp_path):
    environment, file = audited
    line = [
        sys.executable,
        "-m",
        "diffusion_demo",
        "train",
        "--data",
        str(digits),
        "--run",
        str(tmp_path / "run"),
        *tiny,
        "--max-steps",
        "2",
    ]
    subprocess.run(line, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300)
    assert not file.exists(), file.read_text()
