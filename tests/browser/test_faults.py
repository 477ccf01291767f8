"""Recovery from faults: killed servers, full disks, damaged runs, deleted models and many reloads."""

import json
import re
import resource
import shutil
import socket
from contextlib import suppress

import psutil
import pytest
from playwright.sync_api import Error, expect

from diffusion_demo.training.run_folder import RunFolder
from tests.browser.conftest import DESKTOP, open_part
from tests.browser.servers import Visitor, serving

SOON = 180_000


@pytest.fixture
def runs(tmp_path, trained_run):
    """A runs folder with one intact run."""
    shutil.copytree(trained_run, tmp_path / "runs" / "intact")
    return tmp_path / "runs"


def open_page(chromium, server):
    page = chromium.new_context(viewport=DESKTOP).new_page()
    page.set_default_timeout(SOON)
    page.goto(server.url)
    page.get_by_role("button", name="Generate", exact=True).wait_for()
    return page


def generate(page, images: int, steps: int) -> None:
    if not page.get_by_label("number input for Steps").first.is_visible():
        open_part(page, "More settings")
    for label, value in (("Images", images), ("Steps", steps)):
        page.get_by_label(f"number input for {label}").first.fill(str(value))
        page.get_by_label(f"number input for {label}").first.blur()
    page.get_by_role("button", name="Generate", exact=True).click()


def test_the_page_recovers_from_a_server_killed_while_sampling(chromium, tmp_path):
    with serving(tmp_path, {}) as server:
        page = open_page(chromium, server)
        generate(page, 16, 500)
        expect(page.locator("#stage .status").first).to_contain_text(re.compile(r"Step [1-9]\d* of 500"), timeout=SOON)
        server.kill()
        expect(
            page.get_by_test_id("toast-body").or_(page.get_by_text(re.compile("connection", re.I))).first
        ).to_be_visible(timeout=SOON)
        server.start()
        status = page.locator("#stage .status").first
        expect(status).to_contain_text("Example result", timeout=SOON)  # Gradio has reloaded the page
        expect(status).to_contain_text(re.compile(r"Step [1-9]\d* of 500"), timeout=SOON)  # and the run starts again
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.get_by_role("button", name="Generate", exact=True)).to_be_enabled(timeout=SOON)
        generate(page, 2, 4)
        expect(page.locator("#stage .status").first).to_contain_text("2 images in", timeout=SOON)
        page.context.close()


@pytest.fixture
def kill_trainers(tmp_path):
    """Kill trainers at the end of the test, as they outlive the server."""
    yield
    for process in psutil.process_iter(["cmdline"]):
        if str(tmp_path) in (line := " ".join(process.info["cmdline"] or [])) and "diffusion_demo train" in line:
            process.kill()


@pytest.mark.usefixtures("kill_trainers")
def test_training_and_the_queue_go_on_when_the_server_is_killed_and_the_restarted_page_shows_it(chromium, tmp_path):
    with serving(tmp_path, {}) as server:
        page = open_page(chromium, server)
        page.get_by_role("tab", name="Train").click()
        page.locator("#train-drawn").click()
        expect(page.locator("#train-report")).to_contain_text("400 images", timeout=SOON)
        page.get_by_role("combobox", name="Start from").click()
        page.get_by_role("option", name="New network, tiny", exact=True).click()
        expect(page.get_by_role("button", name="Start", exact=True)).to_be_enabled(timeout=SOON)
        page.get_by_role("button", name="Start", exact=True).click()
        line = page.locator("#train-line")
        expect(line).to_contain_text(re.compile(r"Training.*step \d+"), timeout=SOON)
        (run,) = [path for path in server.runs.iterdir() if not path.name.startswith(".")]
        page.get_by_role("button", name="Add to queue").click()
        second = page.locator("#train-table li").filter(has_text="In the queue")
        expect(second).to_have_count(1, timeout=SOON)
        server.kill()
        server.start()
        with suppress(Error):  # Gradio may be reloading the page itself, as the connection was lost
            page.reload()
        page.get_by_role("tab", name="Train").click()
        expect(line).to_contain_text(re.compile(r"Training.*step \d+"), timeout=SOON)
        expect(second).to_have_count(1)
        page.locator("#train-stop").click()
        expect(line).to_contain_text("Stopped", timeout=SOON)
        assert json.loads((run / "events.jsonl").read_text().splitlines()[-1])["type"] == "finished"
        assert len([event for event in RunFolder(run).events() if event["type"] == "start"]) == 1
        expect(page.locator("#train-table li").filter(has_text=re.compile("Starting|Training"))).to_have_count(
            1, timeout=SOON
        )
        page.context.close()


def test_a_full_disk_is_reported_and_nothing_is_left_behind(runs, tmp_path):
    """A limit of 2 kB on the size of files simulates a full disk. The server works again once it is lifted."""
    with serving(tmp_path, {}) as server:
        visitor = Visitor(server.url)
        visitor.call(visitor.number_of("_enable_start_buttons"), [])
        visitor.call(visitor.number_of("_refresh"), [None, ""])
        before = sorted(str(path) for path in runs.rglob("*"))
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))
        scan = visitor.number_of("scan_synthetic")
        for name, data in (("scan_synthetic", visitor.initial_inputs(scan)), ("pack", ["intact", ""])):
            answer = visitor.call(visitor.number_of(name), data)
            assert not answer.succeeded and re.search("room|disk space", answer.error or ""), (
                name,
                answer.text[-500:],
            )
        assert sorted(str(path) for path in runs.rglob("*") if ".uploads" not in path.parts) == before
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert visitor.sample().succeeded and visitor.call(scan, visitor.initial_inputs(scan)).succeeded


def test_an_unwritable_runs_folder_is_reported(tmp_path):
    """A file takes the place of the runs folder, so that not even root can write into it."""
    (tmp_path / "runs").write_text("not a folder")
    with serving(tmp_path, {}) as server:
        visitor = Visitor(server.url)
        scan = visitor.number_of("scan_synthetic")
        answer = visitor.call(scan, visitor.initial_inputs(scan))
        assert not answer.succeeded and answer.error and "Cannot store the images" in answer.error
        assert visitor.sample().succeeded


DAMAGED_FILES = {
    "config-is-no-json": ("config.json", b"{"),
    "config-is-empty": ("config.json", b""),
    "config-is-a-list": ("config.json", b"[1]"),
    "config-of-odd-values": (
        "config.json",
        b'{"config": {"data": 5, "image_size": "x"}, "data": null, "command": null}',
    ),
    "events-are-no-json": ("events.jsonl", b"nonsense\n"),
    "events-are-numbers": ("events.jsonl", b"5\n6\n"),
    "events-are-no-text": ("events.jsonl", b"\xff\xfe\n"),
    "events-lack-fields": ("events.jsonl", b'{"type": "start"}\n'),
    "latest-is-gone": ("checkpoints/latest", None),
    "latest-is-no-text": ("checkpoints/latest", b"\xff\xfe"),
    "latest-names-nothing": ("checkpoints/latest", b"step_999999\n"),
    "description-is-no-json": ("checkpoints/step_000012/diffusion_demo.json", b"{"),
    "weights-are-cut": ("checkpoints/step_000012/unet/diffusion_pytorch_model.safetensors", b"\x00" * 100),
    "weights-are-gone": ("checkpoints/step_000012/unet/diffusion_pytorch_model.safetensors", None),
    "unet-config-is-gone": ("checkpoints/step_000012/unet/config.json", None),
    "an-odd-checkpoint": ("checkpoints/step_last", b""),
}


@pytest.mark.usefixtures("kill_trainers")
def test_damaged_runs_do_not_affect_others(trained_run, tmp_path):
    for name, (file, content) in DAMAGED_FILES.items():
        shutil.copytree(trained_run, tmp_path / "runs" / name)
        (tmp_path / "runs" / name / file).unlink(missing_ok=True)
        if content is not None:
            (tmp_path / "runs" / name / file).write_bytes(content)
    shutil.copytree(trained_run, tmp_path / "runs" / "intact")
    with serving(tmp_path, {}) as server:
        visitor = Visitor(server.url)
        assert visitor.sample().succeeded
        poll = visitor.number_of("poll")
        assert visitor.call(visitor.number_of("_refresh"), [None, ""]).succeeded
        for name in DAMAGED_FILES:
            answer = visitor.call(poll, [name, [], "", None])
            assert answer.succeeded, (name, answer.text)
            if name.startswith("events"):
                assert "Damaged" in answer.text and "Cannot read the files" in answer.text
            for action in ("open_latest", "pack", "resume"):
                answer = visitor.call(
                    visitor.number_of(action),
                    [name, "", "Quick try, 3 min"][: len(visitor.initial_inputs(visitor.number_of(action)))],
                )
                assert answer.succeeded or answer.error, (name, action, answer.text)
                visitor.call(visitor.number_of("stop_run"), [name, ""])
        assert "intact" in visitor.call(visitor.number_of("list_runs"), [""]).text
        for name in DAMAGED_FILES:
            while not (answer := visitor.call(visitor.number_of("delete"), [name, ""])).succeeded:
                assert answer.error and re.search("is training|has started", answer.error), answer.text
                visitor.call(
                    visitor.number_of("stop_run"), [name, ""]
                )  # again: a trainer that is starting ignores earlier commands
        assert sorted(path.name for path in server.runs.iterdir() if not path.name.startswith(".")) == ["intact"]


def test_a_deleted_model_is_reported_and_others_work(runs, tmp_path):
    with serving(tmp_path, {}) as server:
        visitor = Visitor(server.url)
        sample = visitor.number_of("sample")
        refreshed = visitor.call(visitor.number_of("_open_models"), ["mixed"])
        assert "intact/step_000012" in refreshed.text
        labels = [visitor.components[i]["props"].get("label") for i in visitor.functions[sample]["inputs"]]
        inputs = {"Model": "intact/step_000012", "Images": 1, "Steps": 4, "Guidance": 1}
        data = [
            inputs.get(label, default) for label, default in zip(labels, visitor.initial_inputs(sample), strict=True)
        ]
        assert visitor.call(sample, data).succeeded
        shutil.rmtree(runs / "intact" / "checkpoints")
        answer = visitor.call(sample, data)
        assert answer.error and "no longer exists" in answer.error
        assert visitor.sample().succeeded


def test_uploads_that_the_disk_quota_cannot_hold_are_rejected_before_they_are_received(tmp_path):
    settings = {"DIFFUSION_DEMO_DISK_GB": "1", "DIFFUSION_DEMO_UPLOAD_MB": "2000"}
    with serving(tmp_path, settings) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 1500000000\r\n"
            connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode())
            answer = ""
            while "Try again later." not in answer and (received := connection.recv(4096)):
                answer += received.decode()
        assert answer.startswith("HTTP/1.1 507"), answer
        assert "The disk of the server is full. Try again later." in answer
        upload = Visitor(server.url).http.post("/gradio_api/upload", files={"files": ("a.txt", b"text")})
        assert upload.status_code == 200, "what was reserved is given back"


@pytest.mark.parametrize("times", [30, pytest.param(1000, marks=pytest.mark.slow)])
def test_the_server_works_after_many_reloads(chromium, url, times):
    page = chromium.new_context().new_page()
    page.set_default_timeout(SOON)
    page.goto(url)
    for _ in range(times):
        page.reload(wait_until="domcontentloaded")
    page.get_by_role("button", name="Generate", exact=True).wait_for()
    generate(page, 1, 4)
    expect(page.locator("#stage .status").first).to_contain_text("1 image in", timeout=SOON)
    page.context.close()
