"""Start of the server."""

import socket
import subprocess
import sys

import pytest

from diffusion_demo.errors import BadInput
from diffusion_demo.ui import launch
from tests.browser.conftest import ROOT


def test_a_port_in_use_is_reported_with_exit_code_2():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        completed = subprocess.run(
            [sys.executable, "app.py", "--no-browser", "--port", str(port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert completed.returncode == 2
    assert completed.stderr.strip().splitlines() == [
        f"Port {port} on 127.0.0.1 is in use. Try another port: python app.py --port {port + 1}"
    ]


def choose(monkeypatch, ports_tried, environment=()):
    """Return the port that is chosen if the default one is in use, and the default one."""
    monkeypatch.setattr(launch, "PORTS_TRIED", ports_tried)
    for name in environment:
        monkeypatch.setenv(name, "somebody/demo")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        monkeypatch.setattr(launch, "DEFAULT_PORT", listener.getsockname()[1])
        return launch._choose_port("127.0.0.1", None, "diffusion-demo"), launch.DEFAULT_PORT


def test_a_default_port_in_use_gives_way_to_the_next_free_one(monkeypatch):
    chosen, default = choose(monkeypatch, ports_tried=100)
    assert default < chosen < default + 100


@pytest.mark.parametrize(("ports_tried", "environment"), [(1, ()), (100, ("SPACE_ID",))])
def test_where_no_other_port_may_be_taken_the_message_says_so(monkeypatch, ports_tried, environment):
    with pytest.raises(BadInput, match=r"in use. Choose another: diffusion-demo --port PORT"):
        choose(monkeypatch, ports_tried, environment)


def test_an_address_of_another_machine_is_refused_at_once():
    with pytest.raises(BadInput, match="address of this machine"):
        launch._choose_port("203.0.113.1", None, "diffusion-demo")
