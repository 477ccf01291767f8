"""Start of the server."""

import socket
import subprocess
import sys

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
