"""Attacks as plain requests, which every page refuses: files, closed routes, bodies, keys, other pages, odd methods."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
DEEP = "[" * 50_000
CLOSED_ROUTES = (
    "proxy=http://127.0.0.1:9/x",
    "proxy=https://huggingface.co/x",
    "component_server",
    "deep_link",
    "process_recording",
    "stream/x",
    "stream/a/b/1/playlist.m3u8",
    "vibe-edit",
    "vibe-code",
    "undo-vibe-edit",
    "run-history/records",
    "runs",
    "custom_component/a/client/component/x.js",
    "profiling/traces",
    "monitoring/summary",
    "token",
    "dev/reload",
    "mcp",
)
SERVED_FOLDERS = ("static", "assets", "svelte", "pwa_icon")
CALL_ROUTES = ("queue/join", "call/sample", "run/sample", "api/sample", "call/v2/sample", "cancel")
BODIES = (
    b"",
    b"{",
    b"null",
    b"5",
    b"[]",
    b"\xff\xfe",
    DEEP.encode(),
    json.dumps({"data": "x" * 100, "fn_index": -1}).encode(),
    json.dumps({"data": [], "fn_index": 1, "session_hash": "a b"}).encode(),
    json.dumps({"data": [], "fn_index": 1, "session_hash": "x" * 5000}).encode(),
    json.dumps({"data": [0] * 2000, "fn_index": 1, "session_hash": "a"}).encode(),
    json.dumps({"data": [], "fn_index": 1, "batched": True, "session_hash": "a"}).encode(),
)
FOREIGN = (
    {"origin": "https://evil.example"},
    {"origin": "http://127.0.0.1:1"},
    {"origin": "null"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
)
LEAKS = ("Traceback", "root:x:0", "/site-packages/", "GRADIO_TEMP_DIR", "diffusion_demo/ui")


@dataclass(frozen=True)
class Attack:
    """One request that has to be refused."""

    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, url: str) -> httpx.Response:
        """Send the request without changing its path, as a browser would."""
        headers = {"content-type": "application/json"} | self.headers
        with httpx.Client(timeout=60) as client:
            request = client.build_request(self.method, url, content=self.body, headers=headers)
            request.url = request.url.copy_with(raw_path=f"/{self.path}".encode())
            return client.send(request)


def attacks(foreign_files: list[str]) -> Iterator[Attack]:
    """Yield all attacks. `foreign_files` are paths of files on the server's machine that the caller may not read."""
    paths = [*foreign_files, "/etc/passwd", "/proc/self/environ", "/dev/zero", str(ROOT / "app.py"), "app.py", ""]
    paths += ["../../etc/passwd", "/tmp/../etc/passwd", "//etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "%00", "%ff%fe"]
    paths += ["file:///etc/passwd", "http://127.0.0.1:9/x.png", "https://huggingface.co/front/x.png", "HTTPS://a.b/c"]
    for path in paths:
        for route in ("gradio_api/file=", "file=", "gradio_api/file/"):
            yield Attack("GET", f"{route}{path}")
    for route in CLOSED_ROUTES:
        yield from (Attack(method, f"gradio_api/{route}") for method in ("GET", "POST"))
    for folder in SERVED_FOLDERS:
        for path in ("../../etc/passwd", "%2e%2e/%2e%2e/app.py", "..%2f..%2fapp.py", "/etc/passwd", "%00"):
            yield Attack("GET", f"{folder}/{path}")
    for route in CALL_ROUTES:
        yield from (Attack("POST", f"gradio_api/{route}", body) for body in BODIES)
    for key in ("unknown", "x" * 65, "a%20b", "a%0aFORGED", "..", ""):
        yield Attack("GET", f"gradio_api/queue/data?session_hash={key}")
        yield Attack("GET", f"gradio_api/call/sample/{key or '%20'}")
    for headers in FOREIGN:
        for method, path in (("GET", "config"), ("POST", "gradio_api/upload"), ("POST", "gradio_api/queue/join")):
            yield Attack(method, path, b"{}" if method == "POST" else None, headers)
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"):
        yield from (Attack(method, path) for path in ("", "config", "gradio_api/queue/join"))
    for kind in (
        "text/plain",
        "multipart/form-data",
        "multipart/form-data; boundary=" + "b" * 5000,
        "application/json",
    ):
        yield Attack("POST", "gradio_api/upload", b"--b\r\n", {"content-type": kind})


def sweep(url: str, foreign_files: list[str]) -> int:
    """Send all attacks, check that each is refused without a leak, and return their number."""
    count = 0
    for attack in attacks(foreign_files):
        try:
            answer = attack.send(url)
        except httpx.RemoteProtocolError:  # the server hangs up on what is no HTTP
            count += 1
            continue
        shown = (attack, answer.status_code, answer.text[:300])
        assert 400 <= answer.status_code < 500, shown
        assert len(answer.content) < 3000 and not any(leak in answer.text for leak in LEAKS), shown
        # Gradio's own refusal on a local page repeats the path that was asked for.
        assert not any(Path(path).name in answer.text and path not in attack.path for path in foreign_files), shown
        count += 1
    return count
