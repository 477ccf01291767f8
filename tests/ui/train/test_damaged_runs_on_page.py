"""Damaged runs on the page: each is listed, as damaged where its own files are, and harms no other run or model."""

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gradio as gr
import pytest

from diffusion_demo.ui.page import build
from diffusion_demo.ui.server import housekeeping, model_list
from diffusion_demo.ui.train import run_actions, run_list, run_rows, run_status, uploads
from tests.training.test_damaged_runs import CONTENTS, DEEP, EVENTS, METADATA

CHECKPOINT = "checkpoints/step_000012"


def write(file: str, content: str | bytes, run: Path) -> None:
    data = content.encode(errors="surrogateescape") if isinstance(content, str) else content
    (run / file).write_bytes(data)


def append(line: str | bytes, run: Path) -> None:
    before = (run / "events.jsonl").read_bytes()
    write("events.jsonl", before + (line.encode(errors="surrogateescape") if isinstance(line, str) else line), run)


def change_metadata(change: dict, run: Path) -> None:
    file = run / CHECKPOINT / "diffusion_demo.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))


def change_config(change: dict, run: Path) -> None:
    content = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(content | {"config": content["config"] | change}))


def remove(name: str, run: Path) -> None:
    path = run / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def replace_by_folder(name: str, run: Path) -> None:
    remove(name, run)
    (run / name).mkdir(parents=True)


def replace_by_file(name: str, run: Path) -> None:
    remove(name, run)
    (run / name).write_bytes(b"no folder")


def replace_by_link(name: str, target: str, run: Path) -> None:
    remove(name, run)
    (run / name).symlink_to(target)


def replace_by_pipe(name: str, run: Path) -> None:
    remove(name, run)
    os.mkfifo(run / name)


LATEST = [b"", b"\xff\xfe", b"step_999999\n", b"../../good\n", b"/etc\n", b"\x00", b"x" * 5000]
FILES = ("events.jsonl", "trainer.log", "checkpoints/latest", f"{CHECKPOINT}/diffusion_demo.json", "owner")
FOLDERS = ("checkpoints", "samples", "cache")
# name: (function that damages a run, whether its status is "damaged")
DAMAGES: dict[str, tuple[Callable[[Path], object], bool]] = {
    **{f"config {i}": (partial(write, "config.json", content), True) for i, content in enumerate(CONTENTS)},
    **{f"event {i}": (partial(append, json.dumps(event) + "\n"), True) for i, event in enumerate(EVENTS)},
    **{
        f"events {i}": (partial(append, line), True)
        for i, line in enumerate([DEEP + "\n", "\udcff\n", "{\n", "\x00\n", "words\n"])
    },
    **{
        f"setting {i}": (partial(change_config, change), True)
        for i, change in enumerate(
            [{"image_size": "x"}, {"data": 5}, {"data": [5]}, {"batch_size": -1}, {"unknown": 1}, {"ema_decays": "x"}]
        )
    },
    **{f"metadata {i}": (partial(change_metadata, change), False) for i, change in enumerate(METADATA)},
    **{f"latest {i}": (partial(write, "checkpoints/latest", content), False) for i, content in enumerate(LATEST)},
    **{f"folder for {name}": (partial(replace_by_folder, name), name == "events.jsonl") for name in FILES},
    **{f"pipe for {name}": (partial(replace_by_pipe, name), name == "events.jsonl") for name in FILES},
    **{f"loop for {name}": (partial(replace_by_link, name, Path(name).name), False) for name in FILES},  # as if missing
    **{f"device for {name}": (partial(replace_by_link, name, "/dev/zero"), name == "events.jsonl") for name in FILES},
    **{f"file for {name}": (partial(replace_by_file, name), False) for name in FOLDERS},
    **{f"link for {name}": (partial(replace_by_link, name, "/"), False) for name in FOLDERS},
}


WITHOUT_STATE = shutil.ignore_patterns("state")  # the optimizer state is large, and the page never reads it


@pytest.fixture
def runs(trained_run, tmp_path, monkeypatch):
    """A runs folder with the intact run "good"."""
    folder = tmp_path.resolve() / "runs"
    shutil.copytree(trained_run, folder / "good", ignore=WITHOUT_STATE)
    monkeypatch.setattr(model_list, "RUNS", folder)
    monkeypatch.setattr(model_list, "IMPORTED", folder / "imported")
    monkeypatch.setattr(uploads, "UPLOADS", folder / ".uploads")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)  # a hundred copies of a run are gigabytes


def damage(runs: Path, trained_run: Path, kind: str, name: str) -> Path:
    shutil.copytree(trained_run, runs / name, ignore=WITHOUT_STATE)
    DAMAGES[kind][0](runs / name)
    return runs / name


def labels() -> dict[str, str]:
    """Return the state of each run as the list of the page names it."""
    return {row["name"]: row["label"] for row in run_rows.rows("")["runs"]}


def check_the_good_run() -> None:
    """Check that every list of the page has the intact run and its model."""
    assert labels()["good"] == run_list.STATE_LABELS["finished"]
    assert "good/step_000012" in model_list.model_folders()
    assert any(name == "good/step_000012" for _, name in model_list.model_choices())


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_run_is_listed_and_harms_no_other(kind, runs, trained_run):
    bad, is_damaged = damage(runs, trained_run, kind, "bad"), DAMAGES[kind][1]
    check_the_good_run()
    listed = "bad" in run_list.visible_names("")
    if listed:
        assert (labels()["bad"] == run_list.STATE_LABELS["damaged"]) == is_damaged
    assert listed or not is_damaged
    shown = run_status.poll("bad", ["good"], "", None)
    assert not is_damaged or run_list.DAMAGED_RUN in str(shown)
    assert "good" in str(run_status.poll("good", ["bad"], "", None)) and run_list.default_run("") in ("good", "bad")
    for action in (run_actions.pack, run_status.open_latest):
        try:
            action("bad", "")
        except gr.Error as error:
            assert 10 < len(str(error.message)) < 400 and "\n" not in str(error.message)
    if listed:
        run_actions.delete("bad", "")
        assert not bad.exists()
    check_the_good_run()


@pytest.mark.timeout(120, func_only=True)
def test_the_page_starts_with_all_damaged_runs_at_once(runs, trained_run):
    assert len(DAMAGES) >= 40
    for i, kind in enumerate(DAMAGES):
        damage(runs, trained_run, kind, f"bad-{i}")
    page = build()
    choices = [str(block.choices) for block in page.blocks.values() if isinstance(block, gr.Dropdown)]
    assert sum("good" in text for text in choices) >= 2, "its run and its model"
    check_the_good_run()
    housekeeping.run_once(page)
    assert (runs / "good" / "config.json").is_file()
