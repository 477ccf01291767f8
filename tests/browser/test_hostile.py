"""A hostile client: every endpoint, listed or not, is sent what no page would send. Each answer is clean, nothing leaks, the server lives."""

import json
import uuid
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from PIL import Image

from tests.browser.servers import ON_A_SPACE, Visitor, serving

SECRET = f"canary-{uuid.uuid4().hex}"
LEAKS = (SECRET, "root:x:0:", "Traceback", "raise SystemExit(main())", "site-packages", "most recent call last")


def deep(levels: int) -> list:
    value: list = []
    for _ in range(levels):
        value = [value]
    return value


def file(path: str, **more) -> dict:
    return {"path": path, "meta": {"_type": "gradio.FileData"}} | more


HOSTILE = {
    "nothing": None,
    "not a number": float("nan"),
    "infinity": float("inf"),
    "huge": 10**300,
    "beyond floats": 10**400,
    "negative": -(2**63),
    "a half": 0.5,
    "empty text": "",
    "a long text": "A" * 1_500_000,
    "zero byte": "avatars-32\x00",
    "surrogate": "\ud800",
    "traversal": "../../../../etc/passwd",
    "absolute": "/etc/passwd",
    "markup": "<img src=x onerror=alert(1)>",
    "template": "{{7*7}}{0.__class__}%s%n",
    "list": [1, [2, "three"]],
    "dictionary": {"__class__": "x", "path": None},
    "deep": deep(400),
    "system file": file("/etc/passwd"),
    "own source": file("app.py"),
    "environment": file("/proc/self/environ"),
    "another server": file("http://127.0.0.1:9/x.png", url="http://127.0.0.1:9/x.png"),
    "list of files": [file("/etc/passwd"), file("/etc/hosts")],
    "update": {"__type__": "update", "value": "/etc/passwd"},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory, trained_run):
    """A public page where anybody may train, and nobody may look at what is somebody else's."""
    folder = tmp_path_factory.mktemp("hostile")
    environment = ON_A_SPACE | {
        "DIFFUSION_DEMO_TRAINING": "on",
        "DIFFUSION_DEMO_CALLS_A_MINUTE": "100000",
        "A_SECRET": SECRET,
    }
    (folder / "runs" / "mine").mkdir(parents=True)
    (folder / "runs" / "secret.txt").write_text(SECRET)
    for path in (p for p in trained_run.rglob("*") if p.is_file()):
        target = folder / "runs" / "mine" / path.relative_to(trained_run)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    with serving(folder, environment) as server:
        yield server
        assert Visitor(server.url).sample().succeeded, "the server lives and still samples"
        assert SECRET not in server.said()


@pytest.fixture
def attacker(server):
    return Visitor(server.url)


def clean(text: str, status: int = 200) -> None:
    assert status < 500 or set(json.loads(text)) <= {"error", "duration", "visible", "title"}, (status, text[:500])
    assert not [leak for leak in LEAKS if leak in text], text[:2000]


@pytest.mark.parametrize(
    "share", [pytest.param(4, id="a quarter of it"), pytest.param(1, id="all of it", marks=pytest.mark.slow)]
)
def test_every_endpoint_survives_everything(server, share):
    """All functions of the page by their numbers, with hostile values in all inputs at once, and with one in each input by itself."""
    visitor, count, values = Visitor(server.url), 0, list(HOSTILE.values())
    for number, function in visitor.functions.items():
        usual, inputs = visitor.usual(number), len(function["inputs"])
        turned = values[number % len(values) :] + values[: number % len(values)]
        attacks = [[value] * inputs for value in turned[: len(values) // share]] if inputs else []
        attacks += [[turned[i % len(values)] if i == j else v for j, v in enumerate(usual)] for i in range(inputs)]
        for data in [*attacks, [], [None] * (inputs + 50)]:
            answer = visitor.call(number, data, event_data={"t": "x", "T": 0}, most_seconds=1)
            clean(answer.text, answer.status)
            count += 1
    assert count > 300
    # gradio's own loader of examples, asked for none
    assert [
        line for line in server.said().splitlines() if line.startswith("Failed") and "load_example" not in line
    ] == []


@pytest.mark.parametrize(
    "path",
    [
        "file=/etc/passwd",
        "file=../../../etc/passwd",
        "file=%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "file=//etc/passwd",
        "file=file:///etc/passwd",
        "file=/proc/self/environ",
        "file=app.py",
        "file=diffusion_demo/ui/page.py",
        "file=.git/config",
        "file=http://127.0.0.1:9/",
        "file=\x00",
        "file=",
        "file/etc/passwd",
        "proxy=http://127.0.0.1:9/",
        "proxy=https://somebody.hf.space/",
        "stream/x/y/z/playlist.m3u8",
        "runs",
        "run-history/records",
        "vibe-code/",
        "dev/reload",
        "startup-events/../../etc/passwd",
        "upload_progress?upload_id=../../etc",
        "info/..%2f..%2f",
        "call/sample/../../x",
        "heartbeat/../x",
    ],
)
def test_no_route_gives_a_file_of_the_machine(server, path):
    answer = httpx.get(
        f"{server.url}/gradio_api/{path.encode().decode()}"
        if "\x00" not in path
        else f"{server.url}/gradio_api/file=%00",
        timeout=30,
    )
    clean(answer.text, answer.status_code)
    assert answer.status_code in (400, 403, 404, 405), answer.text[:200]


@pytest.mark.parametrize(
    "inside", ["secret.txt", "mine/config.json", "mine/events.jsonl", "mine/checkpoints/latest", ".uploads"]
)
def test_no_route_gives_a_file_of_the_runs(server, inside):
    answer = httpx.get(f"{server.url}/gradio_api/file={server.runs / inside}", timeout=30)
    assert answer.status_code in (403, 404) and SECRET not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "queue/join", b"{"),
        ("POST", "queue/join", b'{"data": [], "fn_index": 999999, "session_hash": "a"}'),
        ("POST", "queue/join", b'{"data": [], "fn_index": -1, "session_hash": "a"}'),
        ("POST", "queue/join", b'{"data": [], "fn_index": "x", "session_hash": "a"}'),
        ("POST", "queue/join", b'{"data": 5, "fn_index": 0, "session_hash": "a"}'),
        ("POST", "queue/join", b'{"data": [], "session_hash": "a"}'),
        ("POST", "queue/join", b'{"data": [], "fn_index": 0}'),
        ("POST", "queue/join", b'{"data": ["' + b"A" * 3_000_000 + b'"], "fn_index": 0, "session_hash": "a"}'),
        ("POST", "queue/join", b"[" * 100_000),
        ("POST", "queue/join", b"\xff\xfe\x00"),
        ("POST", "run/no_such_endpoint", b'{"data": []}'),
        ("POST", "run/sample", b'{"data": [], "event_id": "x"}'),
        ("POST", "run/predict", b'{"data": [], "fn_index": 123456}'),
        ("POST", "call/no_such_endpoint", b'{"data": []}'),
        ("POST", "call/v2/no_such_endpoint", b"{}"),
        ("POST", "call/v2/sample", b'{"no_such_parameter": 1}'),
        ("POST", "component_server", b'{"session_hash": "a", "component_id": 1, "fn_name": "__init__", "data": 1}'),
        ("POST", "process_recording", b""),
        ("POST", "vibe-edit/", b'{"prompt": "x"}'),
        ("POST", "upload", b"no form at all"),
        ("POST", "stream/abc", b"{}"),
        ("DELETE", "upload", b""),
    ],
)
def test_requests_that_make_no_sense_get_a_clean_refusal(server, method, path, body):
    answer = httpx.request(
        method,
        f"{server.url}/gradio_api/{path}",
        content=body,
        headers={"content-type": "application/json"},
        timeout=60,
    )
    clean(answer.text, answer.status_code)
    assert 400 <= answer.status_code <= 500, answer.text[:200]


def upload(visitor: Visitor, name: str, data: bytes):
    return visitor.http.post("/gradio_api/upload", files={"files": (name, data)})


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.png",
        "/etc/cron.d/evil",
        "..\\..\\evil.png",
        "con.png",
        "<script>.png",
        "a" * 300 + ".png",
        "...",
        "-rf",
        "фото 1.png",
        "x.png\x00.py",
    ],
)
def test_odd_names_are_stored_inside_the_cache_alone(attacker, name):
    answer = upload(attacker, name, b"not an image")
    clean(answer.text, answer.status_code)
    if answer.status_code == 200:
        (path,) = (Path(p) for p in answer.json())
        assert (
            path.is_absolute() and ".." not in path.parts and "diffusion_demo_" in str(path) and len(path.name) <= 255
        )
        headers = attacker.http.get(f"/gradio_api/file={quote(str(path))}").headers
        assert path.suffix == ".png" or headers.get("content-disposition", "attachment").startswith("attachment")


def test_an_upload_beyond_the_limit_is_refused(attacker):
    assert upload(attacker, "large.zip", b"0" * 51_000_000).status_code == 413


def test_images_that_are_none_are_refused_with_a_sentence(attacker):
    for name, data in (("a.png", b"not an image"), ("bomb.zip", b"PK\x03\x04" + b"0" * 1000), ("empty.png", b"")):
        (path,) = upload(attacker, name, data).json()
        answer = attacker.call(
            attacker.number_of("scan_files"), [[file(path)], *attacker.usual(attacker.number_of("scan_files"))[1:]]
        )
        clean(answer.text)
        assert not answer.succeeded and answer.error


@pytest.mark.parametrize(
    "name",
    [
        "mine",
        "../mine",
        "mine/../mine",
        "/etc",
        ".uploads",
        "",
        ".",
        "..",
        "mine\x00",
        "no-such-run",
        5,
        None,
        ["mine"],
    ],
)
@pytest.mark.parametrize("deed", ["delete", "pack", "resume", "stop_run", "sample_now_run", "save_now_run"])
def test_runs_of_others_are_neither_stopped_nor_taken_nor_deleted(server, attacker, deed, name):
    number = attacker.number_of(deed)
    listed = attacker.call(attacker.number_of("_refresh"), [None, ""])
    assert "mine" in str(listed.completed["output"]["data"][0]), "it may be watched"
    held = {0: "", 1: "A" * 43, 2: None, 3: {"x": 1}}[len(f"{deed}{name}") % 4]
    answer = attacker.call(number, [name, held, *attacker.usual(number)[2:]])
    clean(answer.text)
    assert not answer.succeeded and answer.error
    assert name != "mine" or "belongs to somebody else" in answer.error
    assert (server.runs / "mine" / "config.json").is_file() and not (server.runs / "mine" / "control.jsonl").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("Images", value) for value in (17, 0, -5, 10**9, float("nan"))],
        *[("Steps", value) for value in (101, 0, 10**400, float("nan"))],
        *[("Seed", value) for value in (-1, 2**70, float("nan"))],
        *[("Model", value) for value in ("google/ddpm-cifar10-32", "/etc", "..")],
        *[("Guidance", 1e9), ("Eta", 5), ("Class", "x")],
    ],
)
def test_no_more_is_made_than_the_page_allows(attacker, field, value):
    number = attacker.number_of("sample")
    labels = [attacker.components[i]["props"].get("label") for i in attacker.functions[number]["inputs"]]
    answer = attacker.call(
        number,
        [value if label == field else usual for label, usual in zip(labels, attacker.usual(number), strict=True)],
    )
    clean(answer.text)
    assert field in labels and not answer.succeeded and answer.error


def test_another_visitors_upload_is_not_in_any_list_and_its_name_is_not_to_be_guessed(server, attacker, tmp_path):
    victim = Visitor(server.url, "198.51.100.7")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "private.png")
    (path,) = upload(victim, "private.png", (tmp_path / "private.png").read_bytes()).json()
    assert len(Path(path).parent.name) == 64
    for guess in (
        "private.png",
        f"{Path(path).parent.parent}/private.png",
        str(Path(path).parent),
        str(Path(path).parent.parent),
    ):
        assert attacker.http.get(f"/gradio_api/file={guess}").status_code in (403, 404)
    assert "private.png" not in attacker.http.get("/config").text


def test_the_page_does_not_say_who_else_is_there(attacker):
    for route in (
        "monitoring",
        "monitoring/summary",
        "monitoring/x",
        "gradio_api/queue/status",
        "gradio_api/info",
        "config",
        "openapi.json",
    ):
        answer = attacker.http.get(f"/{route}")
        clean(answer.text, answer.status_code)
        assert "203.0.113" not in answer.text and attacker.session not in answer.text
