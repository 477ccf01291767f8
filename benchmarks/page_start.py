"""Time from `python app.py` to its first HTTP response, compared with `import gradio` alone."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.measuring import Row, ratio, seconds

ROOT = Path(__file__).resolve().parents[1]


def import_gradio() -> None:
    subprocess.run([sys.executable, "-c", "import gradio"], check=True)


@contextmanager
def served() -> Iterator[str]:
    """Start the page in its own process, without runs to list, and yield its address once it responds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as runs:
        line = [sys.executable, "app.py", "--no-browser", "--port", str(port)]
        server = subprocess.Popen(
            line, cwd=ROOT, env=os.environ | {"DIFFUSION_DEMO_RUNS": runs}, stdout=subprocess.DEVNULL
        )
        try:
            wait_until_ready(address := f"http://127.0.0.1:{port}", server)
            yield address
        finally:
            server.terminate()
            server.wait()


def wait_until_ready(address: str, server: subprocess.Popen) -> None:
    """Wait for the first HTTP response. Raises ChildProcessError if the server exits."""
    while server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.02)
    raise ChildProcessError("The server exited before its first response. Run `python app.py` to see the error.")


def rows(rounds: int) -> Iterator[Row]:
    times = {"gradio": [], "page": []}
    for _ in range(rounds + 1):
        times["gradio"].append(seconds(import_gradio))
        with ExitStack() as until_measured:
            times["page"].append(seconds(partial(until_measured.enter_context, served())))
    counted = {name: seconds_per_round[1:] for name, seconds_per_round in times.items()}
    yield Row(
        "time to the first response of the page",
        f"{median(counted['page']):.2f} s",
        f"`import gradio` alone: {median(counted['gradio']):.2f} s",
        f"{ratio(counted, 'page', 'gradio')} times the time",
    )
