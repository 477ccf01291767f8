"""Attacks on a real server with real requests: files, keys, queue, uploads, hidden runs, login, other pages, log."""

import io
import json
import os
import shutil
import socket
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from PIL import Image

from diffusion_demo.ui.server.visitor_files import FORBIDDEN
from tests.browser.servers import Visitor, serving
from tests.browser.sweep import FOREIGN, sweep

PUBLIC = {"DIFFUSION_DEMO_PUBLIC": "on", "DIFFUSION_DEMO_CALLS_A_MINUTE": "100000"}
HIDDEN = f"hidden-{uuid.uuid4().hex}"
META = {"_type": "gradio.FileData"}


def png(color="red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), color).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory, trained_run):
    """A public page with training, on which runs are hidden from others; one run belongs to nobody."""
    folder = tmp_path_factory.mktemp("attacks")
    for path in (p for p in trained_run.rglob("*") if p.is_file()):
        target = folder / "runs" / HIDDEN / path.relative_to(trained_run)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (folder / "tmp").mkdir()
    environment = PUBLIC | {"DIFFUSION_DEMO_TRAINING": "on", "DIFFUSION_DEMO_WATCH": "off"}
    environment |= {"TMPDIR": str(folder / "tmp")}
    with serving(folder, environment) as server:
        yield server
        assert Visitor(server.url, "203.0.113.250").sample().succeeded, "the server no longer samples"
        text = server.log_text()
        assert HIDDEN not in text and "203.0.113" not in text and "FORGED" not in text, text[-3000:]


@pytest.fixture
def attacker(server):
    return Visitor(server.url)


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    """Files of the machine that no visitor may read."""
    folder = tmp_path_factory.mktemp("private")
    (folder / "secret.png").write_bytes(png("blue"))
    (folder / "link.png").symlink_to(folder / "secret.png")
    return folder


def upload(visitor: Visitor, name: str, data: bytes) -> str:
    return visitor.http.post("/gradio_api/upload", files={"files": (name, data)}).json()[0]


def file_inputs(visitor: Visitor) -> list[tuple[int, int, bool]]:
    """Return (endpoint, input, whether it takes several) of every input that is a file."""
    found = []
    for number, function in visitor.functions.items():
        for i, component in enumerate(function["inputs"]):
            if (kind := visitor.components[component]["type"]) in ("image", "file", "uploadbutton", "imageeditor"):
                several = visitor.components[component]["props"].get("file_count") == "multiple"
                found.append((number, i, kind == "file" and several))
    return found


def forms_of(path: str) -> list:
    """Return the ways in which a request can name a path."""
    return [
        path,
        {"path": path},
        {"path": path, "meta": None},
        {"path": path, "meta": {"_type": "other"}},
        {"path": path, "meta": META},
        {"path": path, "meta": META, "is_stream": True},
        {"path": path, "meta": META, "url": f"http://127.0.0.1/gradio_api/file={path}"},
        {"path": f"/tmp/../{path}", "meta": META},
        {"image": {"path": path, "meta": META}},
    ]


def test_no_endpoint_reads_a_file_that_the_visitor_did_not_upload(server, attacker, private):
    victim = Visitor(server.url, "203.0.113.9")
    foreign = upload(victim, "a.png", png("green"))
    paths = [str(private / "secret.png"), str(private / "link.png"), str(private), foreign, "/dev/zero", "/etc/passwd"]
    paths += [
        str(private / "missing.png"),
        "app.py",
        str(server.runs / HIDDEN / "config.json"),
        "http://127.0.0.1:9/x.png",
    ]
    count = 0
    for number, place, several in file_inputs(attacker):
        for path in paths:
            for form in forms_of(path)[:: 1 if path == paths[0] else 4]:
                data = attacker.initial_inputs(number)
                data[place] = [form] if several else form
                answer = attacker.call(number, data)
                assert not answer.succeeded and answer.error and path not in answer.error, (
                    number,
                    form,
                    answer.text[:500],
                )
                count += 1
    assert count > 150
    # An answer tells nothing about whether a path exists.
    errors = {
        attacker.call(attacker.number_of("inspect"), [{"path": p, "meta": META}, None, None]).error for p in paths
    }
    assert errors == {FORBIDDEN}
    own = {"path": foreign, "meta": META}
    assert victim.call(victim.number_of("inspect"), [own, None, None]).succeeded


def test_a_file_that_the_page_sent_may_be_named_by_its_visitor_only(attacker, server):
    sent = attacker.sample().completed["output"]["data"][1][0]["image"]
    file, other = {"path": sent["path"], "url": sent["url"], "meta": META}, Visitor(server.url, "203.0.113.10")
    assert attacker.call(attacker.number_of("inspect"), [file, None, None]).succeeded
    assert other.call(other.number_of("inspect"), [file, None, None]).error == FORBIDDEN


def test_a_file_is_fetched_by_the_visitor_only_who_uploaded_it_or_was_sent_it(attacker, server):
    made = attacker.sample().completed["output"]["data"][1][0]["image"]["path"]
    own = upload(attacker, "own.png", png())
    other = Visitor(server.url)  # behind the same address
    for path in (made, own):
        for route in ("gradio_api/file=", "gradio_api/file/"):
            assert other.http.get(f"/{route}{path}").status_code == 404
            assert httpx.get(f"{server.url}/{route}{path}").status_code == 404
        assert attacker.http.get(f"/gradio_api/file={path}").content.startswith(b"\x89PNG")
        assert attacker.http.head(f"/gradio_api/file={path}").status_code == 200
    for path in page_images(other):
        assert other.http.get(f"/gradio_api/file={path}").status_code == 200, path


def page_images(visitor: Visitor) -> list[str]:
    """Return the paths of all files that the page itself shows."""
    found, pending = [], [visitor.config["components"]]
    while pending:
        value = pending.pop()
        if (
            isinstance(value, dict)
            and isinstance(value.get("path"), str)
            and value.get("meta") == META
            and os.path.isabs(value["path"])
        ):
            found.append(value["path"])
        pending += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return found


@pytest.mark.parametrize("mode", ["public", "login", "local"])
def test_the_sweep(mode, request, private, capsys):
    """At least 150 attacks in each mode; the first ones name files of the machine."""
    files = [str(private / "secret.png"), str(private / "link.png")]
    if mode == "public":
        server = request.getfixturevalue("server")
        victim = Visitor(server.url, "203.0.113.40")
        files += [upload(victim, "victim.png", png("green")), str(server.runs / HIDDEN / "config.json")]
        url = server.url
    else:
        url = request.getfixturevalue("closed").url if mode == "login" else request.getfixturevalue("url")
    count = sweep(url, files)
    with capsys.disabled():
        print(f"\n{mode}: {count} attacks refused")
    assert count >= 150


@pytest.mark.parametrize("value", ["--data=/private", "--run=/x", 1, "true", ["--flip"], {"a": 1}])
def test_settings_of_a_training_are_typed(server, attacker, value):
    number = attacker.number_of("start")
    labels = [attacker.components[i]["props"].get("label") for i in attacker.functions[number]["inputs"]]
    data = [
        value if label == "Random flips" else d
        for label, d in zip(labels, attacker.initial_inputs(number), strict=True)
    ]
    assert attacker.call(number, data).error == "Random flips must be on or off."
    assert [path.name for path in server.runs.glob("[!.]*")] == [HIDDEN]


def test_hidden_runs_are_named_nowhere_and_cannot_be_used(attacker):
    name = f"{HIDDEN}/step_000012"
    for route in ("", "config", "gradio_api/info", "openapi.json", "gradio_api/openapi.json"):
        assert HIDDEN not in attacker.http.get(f"/{route}").text
    compare = attacker.number_of("compare")
    data = attacker.initial_inputs(compare)
    data[2:6] = ["checkpoint", name, "none", ""]
    answers = [attacker.call(compare, data)]
    data[3] = "no such model"
    answers.append(attacker.call(compare, data))
    settings = {"checkpoint": name, "sampler": "ddim", "steps": 2, "eta": 0, "seed": 1, "guidance_scale": 1}
    answers.append(attacker.call(attacker.number_of("_use_settings"), [], event_data={"settings": settings}))
    answers.append(attacker.call(attacker.number_of("_value_fields"), ["checkpoint", "avatars-32"]))
    answers.append(attacker.call(attacker.number_of("list_runs"), [""]))
    assert not any(answer.succeeded for answer in answers[:3])
    assert not any(HIDDEN in answer.text.replace(name, "") for answer in answers)
    assert not any(HIDDEN in answer.text for answer in answers[1:2] + answers[3:])


def test_nobody_changes_the_runs_or_the_queue_of_others(attacker, server):
    before = sorted(str(path) for path in server.runs.rglob("*") if ".uploads" not in path.parts)
    for name in (HIDDEN, "..", "../runs", ".queue.json", "", None):
        for action, more in (("move_up", []), ("remove", []), ("rename", ["mine"]), ("delete", []), ("pack", [])):
            answer = attacker.call(attacker.number_of(action), [name, "", *more])
            assert not answer.succeeded and answer.error and HIDDEN not in answer.error, (action, name)
    assert "cannot be paused" in str(attacker.call(attacker.number_of("pause"), []).error)
    for event in (None, {}, {"fix": "duplicates"}, {"fix": ["x"]}, {"fix": "../x", "field": "data", "value": "/etc"}):
        number = attacker.number_of("apply_fix")
        assert not attacker.call(number, attacker.initial_inputs(number), event_data=event).succeeded
    assert before == sorted(str(path) for path in server.runs.rglob("*") if ".uploads" not in path.parts)


@pytest.mark.parametrize("name", ["../../../../tmp/pwned/1.png", "/etc/1.png", "a/" * 90 + "1.png", "..\\..\\1.png"])
def test_the_folders_of_an_upload_become_names_in_a_zip_alone(server, name):
    visitor = Visitor(server.url)
    number = visitor.number_of("scan_files")
    data = visitor.initial_inputs(number)
    data[0] = [{"path": upload(visitor, "1.png", png()), "orig_name": name, "meta": META}]
    answer = visitor.call(number, data)
    assert answer.succeeded and "1 image" in answer.text
    stored = [path for path in (server.runs / ".uploads").rglob("*") if path.is_file()]
    depths = {len(path.relative_to(server.runs / ".uploads").parts) for path in stored}
    assert stored and depths <= {2, 3}, "a ZIP, or files without folders"
    assert not Path("/tmp/pwned").exists()


def test_a_resumed_run_is_checked_like_a_dropped_file(attacker):
    """The browser keeps the settings of a run that a reload cuts short, so they may say anything."""
    settings = {"checkpoint": "avatars-32", "sampler": "ddim", "steps": 2, "eta": 0, "seed": 1, "guidance_scale": 1}
    run, number = {"settings": settings, "num_images": 2, "label": "mixed"}, attacker.number_of("_resume")
    assert attacker.call(number, [], event_data=run).succeeded
    wrong = [{"num_images": value} for value in (0, 17, 2**70, True, "2", 2.0, None, [1])]
    wrong += [{"label": value} for value in ("nine", 5, ["robot"], None, "</style>")]
    wrong += [{"settings": value} for value in (None, "x", {}, settings | {"checkpoint": "/etc/passwd"})]
    wrong += [{"settings": settings | {"steps": 10**9}}, {"settings": settings | {"seed": -1}}]
    for change in wrong:
        answer = attacker.call(number, [], event_data=run | change)
        assert not answer.succeeded and answer.error and "Traceback" not in answer.text, change


@pytest.mark.parametrize("key", ["x" * 65, "x" * 1_900_000, "", "a b", "a\nFORGED", "../x", 5, None, ["a"]])
def test_keys_are_short_and_plain(attacker, key):
    body = {"data": [], "fn_index": attacker.number_of("_ask_for_second"), "session_hash": key}
    assert attacker.http.post("/gradio_api/queue/join", json=body).status_code == 400
    if isinstance(key, str) and len(key) < 1000:
        for route in ("queue/data", "upload_progress"):
            parameters = {"session_hash": key, "upload_id": key}
            assert attacker.http.get(f"/gradio_api/{route}", params=parameters).status_code in (400, 404)


@pytest.mark.parametrize(
    "change",
    [
        {"batched": True},
        {"fn_index": -1},
        {"fn_index": 10**30},
        {"fn_index": 99_999},
        {"data": {}},
        {"data": [0] * 1001},
        {"event_id": "x" * 500},
        {"oauth_token": "hf_x"},
        {"trigger_id": "x"},
        {"event_data": {"path": "/etc/passwd"}},
        {"event_data": [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]},
        {"event_data": list(range(1000))},
    ],
)
def test_malformed_calls_are_refused_in_one_sentence(attacker, change):
    body = {"data": [], "fn_index": attacker.number_of("_ask_for_second"), "session_hash": attacker.session} | change
    if "event_data" in change:
        called = attacker.call(body["fn_index"], body["data"], event_data=body["event_data"])
        assert not called.succeeded and called.error
        return
    answer = attacker.http.post("/gradio_api/queue/join", json=body)
    assert 400 <= answer.status_code < 500 and "Traceback" not in answer.text


def test_endpoints_of_the_browser_cannot_be_called(attacker):
    numbers = [d["id"] for d in attacker.config["dependencies"] if not d["backend_fn"] and d["inputs"]]
    assert numbers
    for number in numbers[:5]:
        answer = attacker.call(number, [{"path": "/etc/passwd", "meta": META}])
        assert not answer.succeeded and "browser only" in str(answer.error)


def test_calls_that_nobody_listens_to_end_and_delay_nobody(server):
    greedy = Visitor(server.url, "203.0.113.20")
    number = greedy.number_of("show_lesson")  # two run at a time
    body = {"data": greedy.initial_inputs(number), "fn_index": number}
    codes = []
    for _ in range(70):
        answer = greedy.http.post("/gradio_api/queue/join", json=body | {"session_hash": uuid.uuid4().hex})
        codes.append(answer.status_code)
    assert set(codes) == {200, 429}
    other = Visitor(server.url, "203.0.113.21")
    assert other.sample().succeeded and other.call(number, other.initial_inputs(number)).succeeded
    deadline = time.monotonic() + 60
    while greedy.http.post("/gradio_api/queue/join", json=body | {"session_hash": "later"}).status_code != 200:
        assert time.monotonic() < deadline, "the calls of the visitor who left never ended"
        time.sleep(1)


def test_results_of_unknown_sessions_are_refused_without_a_traceback(attacker):
    for route in ("queue/data?session_hash=unknown", "call/sample/unknown", "call/inspect/0123"):
        assert attacker.http.get(f"/gradio_api/{route}").status_code == 404


@pytest.mark.parametrize(
    "route", ["custom_component/a%0AFORGED/client/component/x.js", "token", "monitoring", "profiling/traces"]
)
def test_unused_routes_are_closed(attacker, route):
    for prefix in ("", "gradio_api/"):
        assert attacker.http.get(f"/{prefix}{route}").status_code == 404


def uploaded_files(server) -> list[Path]:
    """Return all files in the upload folders of visitors (names of 32 characters), including unfinished ones."""
    folders = [folder for folder in server.log.parent.glob("tmp/diffusion_demo_*/*") if len(folder.name) == 32]
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def test_an_upload_that_is_broken_off_leaves_nothing(server, attacker):
    before = uploaded_files(server)
    for _ in range(3):
        known = set(uploaded_files(server))
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = "POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 40000000\r\n"
            head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            head += 'Content-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
            connection.sendall(head.encode() + b"0" * 2_000_000)
            deadline = time.monotonic() + 60
            while not set(uploaded_files(server)) - known:
                assert time.monotonic() < deadline, "the upload does not begin"
                time.sleep(0.05)
    deadline = time.monotonic() + 30
    while len(uploaded_files(server)) > len(before):
        assert time.monotonic() < deadline, "a broken-off upload stays on the disk"
        time.sleep(0.2)


def test_many_images_decoded_at_once_need_the_memory_of_one(server):
    import psutil

    buffer = io.BytesIO()
    Image.new("RGB", (7000, 7000)).save(buffer, "PNG")
    visitors = [Visitor(server.url, f"203.0.113.{30 + i}") for i in range(6)]
    files = [{"path": upload(visitor, "big.png", buffer.getvalue()), "meta": META} for visitor in visitors]
    process = psutil.Process(server.process.pid)
    before, peak = process.memory_info().rss, 0
    for visitor, file in zip(visitors, files, strict=True):
        body = {"data": [file, None, None], "fn_index": visitor.number_of("inspect"), "session_hash": visitor.session}
        assert visitor.http.post("/gradio_api/queue/join", json=body).status_code == 200
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline:
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.02)
    assert peak - before < 1_200_000_000, (peak - before) / 1e9


@pytest.mark.parametrize("headers", FOREIGN)
def test_other_web_pages_can_neither_read_nor_post_nor_frame(attacker, headers):
    for method, route in (("POST", "gradio_api/upload"), ("GET", "config"), ("POST", "gradio_api/queue/join")):
        answer = attacker.http.request(method, f"/{route}", headers=headers)
        assert answer.status_code == 403, (method, route)
    answer = attacker.http.get("/", headers={"x-forwarded-host": "evil.example"})
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"] and "evil.example" not in answer.text


@pytest.mark.parametrize("mode", ["public", "login", "local"])
def test_no_page_may_be_framed_or_read_by_another_origin(mode, request):
    """Gradio lets pages at some addresses read its answers, which it says to this page's own origin, too."""
    url = request.getfixturevalue({"public": "server", "login": "closed", "local": "url"}[mode])
    url = url if isinstance(url, str) else url.url
    for route in ("", "config", "gradio_api/startup-events"):
        for method in ("GET", "OPTIONS"):
            headers = {"origin": url, "access-control-request-method": "GET"}
            answer = httpx.request(method, f"{url}/{route}", headers=headers)
            assert not [name for name in answer.headers if name.startswith("access-control-")], (method, route)
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], (method, route)
            assert answer.headers["x-frame-options"] == "DENY", (method, route)


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A public page with a login."""
    with serving(tmp_path_factory.mktemp("login"), PUBLIC | {"DIFFUSION_DEMO_LOGIN": "me:secret"}) as server:
        yield server


def test_without_login_there_is_the_login_page_and_nothing_else(closed):
    routes = ["", "config", "openapi.json", "gradio_api/openapi.json", "gradio_api/info", "theme.css", "manifest.json"]
    routes += ["gradio_api/file=x", "assets/x.js", "gradio_api/app_id", "gradio_api/startup-events", "no/such/route"]
    routes += ["gradio_api/queue/data?session_hash=x", "gradio_api/heartbeat/x", "robots.txt", "docs", "redoc"]
    for route in routes:
        for method in ("GET", "POST", "HEAD", "OPTIONS"):
            answer = httpx.request(method, f"{closed.url}/{route}")
            assert answer.status_code == 401, (method, route)
            assert method == "HEAD" or answer.json() == {"detail": "Log in first."}
    page = httpx.get(closed.url, headers={"accept": "text/html"})
    assert page.status_code == 200 and "password" in page.text and "gradio" not in page.text.lower()


def test_logging_out_ends_ones_own_login_only(closed):
    credentials, sessions = (
        {"username": "me", "password": "secret"},
        [httpx.Client(base_url=closed.url) for _ in range(2)],
    )
    for session in sessions:
        assert session.post("/login", data=credentials).status_code == 200
        assert session.get("/config").status_code == 200
    stolen = dict(sessions[0].cookies)
    assert sessions[0].post("/logout").status_code == 303
    assert sessions[0].get("/config").status_code == 401 and sessions[1].get("/config").status_code == 200
    assert httpx.get(f"{closed.url}/config", cookies=stolen).status_code == 401, "the cookie outlived its logout"
    name, value = next(iter(dict(sessions[1].cookies).items()))
    payload, signature = value.rsplit(".", 1)
    other = f"{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    for forged in (other, "e30=.x.y", "", "null"):
        assert httpx.get(f"{closed.url}/config", headers={"cookie": f"{name}={forged}"}).status_code == 401


def test_guessing_is_limited(closed):
    guesses = [
        {"username": name, "password": p} for name, p in (("me", "x"), ("you", "secret"), ("", ""), ("me", "é" * 99))
    ]
    headers = {"x-forwarded-for": "203.0.113.77"}
    codes = [httpx.post(f"{closed.url}/login", data=guesses[i % 4], headers=headers).status_code for i in range(14)]
    assert codes == [400] * 10 + [429] * 4


def test_the_gradio_client_can_log_in(closed):
    from gradio_client import Client

    client = Client(closed.url, auth=("me", "secret"), verbose=False)
    assert client.predict(num_images=1, steps=2, api_name="/sample")


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_local_page_is_shielded_too(url, headers):
    assert httpx.post(f"{url}/gradio_api/upload", headers=headers, files={"files": ("a", b"")}).status_code == 403
    assert httpx.get(url, headers={"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}).status_code == 200
    assert json.loads(httpx.get(f"{url}/config").text)["version"]
    assert os.environ.get("DIFFUSION_DEMO_PUBLIC") is None


def test_a_toast_shows_the_text_of_a_dropped_file_as_text(attacker, tmp_path):
    from diffusion_demo.images import read_settings, save_png

    made = attacker.sample().completed["output"]["data"][1][0]["image"]["path"]
    (tmp_path / "made.png").write_bytes(attacker.http.get(f"/gradio_api/file={made}").content)
    evil = "<form action='https://evil.example'><img src=x onerror=alert(1)>"
    save_png(
        tmp_path / "evil.png",
        Image.new("RGB", (8, 8)),
        read_settings(tmp_path / "made.png") | {"upsampler": evil},
    )
    dropped = {"path": upload(attacker, "evil.png", (tmp_path / "evil.png").read_bytes()), "meta": META}
    answer = attacker.call(attacker.number_of("from_file"), [dropped])
    assert "&lt;form" in answer.text and "<form" not in answer.text


def test_a_removed_temporary_folder_is_made_again(server, attacker):
    shutil.rmtree(server.log.parent / "tmp")
    own = {"path": upload(attacker, "own.png", png()), "meta": META}
    assert attacker.call(attacker.number_of("inspect"), [own, None, None]).succeeded
    shutil.rmtree(server.log.parent / "tmp")
    assert attacker.sample().succeeded


def test_new_cookies_buy_no_more_uploads(server):
    """Half of the quota belongs to one address; a quarter of it to one visitor."""
    visitors = [Visitor(server.url) for _ in range(5)]
    codes = []
    with ExitStack() as stack:
        for visitor in visitors * 30:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            cookie = "; ".join(f"{name}={value}" for name, value in visitor.http.cookies.items())
            head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nContent-Length: 49000000\r\n"
            head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            connection.sendall(head.encode())
            connection.settimeout(0.05)
            try:
                codes.append(connection.recv(12)[9:])
            except TimeoutError:
                codes.append(b"")
        refused = stack.enter_context(httpx.Client(base_url=server.url))
        refused.get("/config")
        assert refused.post("/gradio_api/upload", files={"files": ("a.png", png())}).status_code == 429
        assert b"429" in codes and codes[0] == b""
