"""A local server that answers as the Hub does, as far as this package uses it. It keeps every request and file."""

import hashlib
import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

TOKEN = "hf_the_secret_token_of_this_test"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".png", ".webp")
LICENSES = ("apache-2.0", "mit", "cc0-1.0")


@dataclass
class Repo:
    """A repository: what its creation asked for, and its files by path."""

    created_with: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class FakeHub:
    """The state of the server.

    requests  (method, path, JSON body or None), in order. refuse: status of the answers to a path
    """

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    refuse: dict[str, int] = field(default_factory=dict)

    def environment(self, home) -> dict[str, str]:
        """Return the variables with which a process talks to this server, logged in, with an empty cache."""
        home.mkdir(exist_ok=True)
        (home / "token").write_text(TOKEN)
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def made(self, method: str) -> list[tuple[str, Any]]:
        """Return path and body of the requests with a method."""
        return [(path, body) for one, path, body in self.requests if one == method]


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Run the server for the time of the block."""
    hub = FakeHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: ClassVar[FakeHub]
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        self._record(None)
        path, hub = self._path(), self.hub
        if path == "/api/whoami-v2":
            return self._answer({"name": "me", "type": "user", "auth": {"accessToken": {"role": "write"}}})
        if "/resolve/" in path:
            return self._send_file(path)
        kind, name, rest = path.removeprefix("/api/").split("/", 1)[0], *self._name_and_rest(path)
        if name not in hub.repos or kind not in ("models", "spaces"):
            return self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        files = hub.repos[name].files
        if rest.startswith("tree/"):
            entries = [{"type": "file", "path": p, "size": len(c), "oid": _oid(c)} for p, c in files.items()]
            return self._answer(entries)
        siblings = [{"rfilename": p} for p in files]
        return self._answer({"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "private": False})

    do_HEAD = do_GET

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        path, hub = self._path(), self.hub
        is_lines = self.headers.get("content-type", "").startswith("application/x-ndjson")
        body: Any = [json.loads(line) for line in raw.splitlines()] if is_lines else json.loads(raw or b"{}")
        self._record(body)
        if path in hub.refuse:
            return self._answer({"error": "refused by the test"}, hub.refuse[path])
        if path == "/api/repos/create":
            return self._create(body)
        if path == "/api/validate-yaml":
            return self._validate(body)
        if path.startswith("/api/buckets/"):
            return self._answer({"url": f"{hub.url}{path.removeprefix('/api')}"})
        if path.endswith("/variables"):
            return self._answer({body["key"]: {"value": body["value"]}})
        if "/preupload/" in path:
            modes = [("lfs" if f["path"].endswith(LARGE) else "regular", f["path"]) for f in body["files"]]
            return self._answer({"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for m, p in modes]})
        if path.endswith("/info/lfs/objects/batch"):
            return self._answer({"transfer": "basic", "objects": [self._action(o) for o in body["objects"]]})
        if "/commit/" in path:
            return self._commit(self._name_and_rest(path)[0], body)
        return self._answer({"error": f"no route {path}"}, 404)

    def do_PUT(self):
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = self._path()
        if path.startswith("/upload/"):
            self.hub.blobs[path.rpartition("/")[2]] = raw
            return self._answer({})
        self._record(json.loads(raw))
        return self._answer({})

    def _create(self, body):
        name = f"{body.get('organization')}/{body['name']}"
        url = f"{self.hub.url}/{'spaces/' if body.get('type') == 'space' else ''}{name}"
        if name in self.hub.repos:
            return self._answer({"error": "You already created this repo", "url": url}, 409)
        self.hub.repos[name] = Repo(body)
        return self._answer({"url": url, "name": name})

    def _validate(self, body):
        """Answer as the Hub does for a card with an unknown license; the other rules are huggingface_hub's own."""
        import yaml

        matter = yaml.safe_load(body["content"].split("---\n")[1])
        known = matter.get("license") in (None, *LICENSES)
        errors = [] if known else [{"message": '"license" must be one of the known ones'}]
        return self._answer({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _action(self, wanted):
        href = f"{self.hub.url}/upload/{wanted['oid']}"
        return {"oid": wanted["oid"], "size": wanted["size"], "actions": {"upload": {"href": href}}}

    def _commit(self, name, lines):
        files = self.hub.repos[name].files
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        url = f"{self.hub.url}/{name}/commit/{COMMIT}"
        return self._answer({"success": True, "commitOid": COMMIT, "commitUrl": url, "hookOutput": ""})

    def _send_file(self, path):
        name, _, rest = path.lstrip("/").partition("/resolve/")
        repo = self.hub.repos.get(name)
        content = repo.files.get(unquote(rest.partition("/")[2])) if repo else None
        if content is None:
            code = "EntryNotFound" if repo else "RepoNotFound"
            return self._answer({"error": "not found"}, 404, {"X-Error-Code": code})
        headers = {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": COMMIT}
        return self._answer(content, 200, headers)

    def _record(self, body):
        self.hub.requests.append((self.command, self._path(), body))
        self.hub.tokens.add(self.headers.get("authorization", ""))

    def _path(self):
        return urlsplit(self.path).path

    def _name_and_rest(self, path):
        parts = path.removeprefix("/api/").split("/")
        return "/".join(parts[1:3]), "/".join(parts[3:])

    def _answer(self, content, status=200, headers=None):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-type", "application/octet-stream" if body is content else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _oid(content):
    return hashlib.sha256(content).hexdigest()
