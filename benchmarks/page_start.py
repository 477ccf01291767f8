"""How soon the page answers: `python app.py` until its first HTTP answer, against `import gradio` alone, in turns.

python -m benchmarks.page_start
"""

import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 7


def import_gradio() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import gradio"], check=True)
    return time.perf_counter() - start


def page_answers() -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start = time.perf_counter()
    server = subprocess.Popen([sys.executable, "app.py", "--no-browser", "--port", str(port)], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
                return time.perf_counter() - start
            except OSError:
                time.sleep(0.02)
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    rounds = [(import_gradio(), page_answers()) for _ in range(ROUNDS + 1)][1:]
    alone, page = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(b / a for a, b in rounds)
    print(f"import gradio {alone:.2f} s; page answers after {page:.2f} s; ratio {ratio:.2f} (median of {ROUNDS} pairs)")


if __name__ == "__main__":
    main()
