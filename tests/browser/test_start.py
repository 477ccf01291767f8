"""Starting the page."""

import socket
import subprocess
import sys

from tests.browser.conftest import ROOT


def test_a_port_in_use_is_one_sentence_and_exit_code_2():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "app.py", "--no-browser", "--port", str(port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines() == [
        f"Port {port} of 127.0.0.1 is in use; choose another, for example: python app.py --port {port + 1}"
    ]
