"""ZeroGPU on this machine: the real `spaces` package with a local server in place of its device API.

Its patches of CUDA alone are left out, because they need torch's CUDA build; its fork, its queues of pickled arguments
and results, and its requests are its own. Run as a script in a process of its own: `run(work)`.
"""

import json
import os
import sys
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

scheduled: list[dict[str, str]] = []
refusals: list[tuple[int, dict, dict]] = []  # status, body and headers of the next answers to /schedule


class _DeviceApi(BaseHTTPRequestHandler):
    def log_message(self, format, *args):
        pass

    def do_POST(self):
        url = urlsplit(self.path)
        status, body, headers = 200, {}, {}
        if url.path == "/schedule":
            scheduled.append(dict(parse_qsl(url.query)))
            body = {"idle": False, "nvidiaIndex": 0, "nvidiaUUID": "none", "allowToken": "token"}
            if refusals:
                status, body, headers = refusals.pop(0)
        answer = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "content-type": "application/json", "content-length": len(answer)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(answer)


def start(folder: Path):
    """Make this process one of a ZeroGPU Space, and return the `spaces` package."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _DeviceApi)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cgroup = folder / "cgroup"
    cgroup.write_text("0::/space\n")
    os.environ |= {
        "SPACE_ID": "somebody/demo",
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{server.server_address[1]}",
        "ZEROGPU_PROC_SELF_CGROUP_PATH": str(cgroup),
        "OMP_NUM_THREADS": "1",  # OpenMP does not survive a fork
    }
    cuda = types.ModuleType("spaces.zero.torch")
    for name in ("enter_mode", "patch", "unpatch", "init"):
        setattr(cuda, name, lambda *arguments: None)
    for name in ("pack", "size", "is_in_bad_fork"):
        setattr(cuda, name, lambda *arguments: 0)
    cuda.move = lambda callback=None: None  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules["spaces.zero.torch"] = cuda
    import spaces  # pyright: ignore[reportMissingImports]

    return spaces
