"""Tampered run folders on the page: nothing outside a run is served or deleted, and one bad run harms no other."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import gradio as gr
import pytest

from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.server import model_list
from diffusion_demo.ui.train import plots, run_actions, run_list, run_rows, run_status, uploads
from tests.conftest import ROOT


@pytest.fixture
def runs(trained_run, tmp_path, monkeypatch):
    """A runs folder with two runs, "bad" and "good", and an upload."""
    folder = tmp_path.resolve() / "runs"
    for name in ("bad", "good"):
        shutil.copytree(trained_run, folder / name)
    (folder / ".uploads" / "abc" / "images").mkdir(parents=True)
    monkeypatch.setattr(model_list, "RUNS", folder)
    monkeypatch.setattr(uploads, "UPLOADS", folder / ".uploads")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def set_data(run: Path, data: str) -> None:
    content = json.loads((run / "config.json").read_text())
    content["config"]["data"] = data
    (run / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "data", ["{}/.uploads/..", "{}/.uploads", "{}/.uploads/../good", "{}", "/", "..", "\x00", "{}/.uploads/abc/../.."]
)
def test_deleting_a_run_deletes_its_own_uploads_only(runs, data):
    set_data(runs / "bad", data.format(runs))
    run_actions.delete("bad", "")
    assert not (runs / "bad").exists() and (runs / "good" / "config.json").is_file()
    assert (runs / ".uploads" / "abc").is_dir()


def test_the_uploads_of_a_run_are_deleted_with_it_and_found_through_a_link(runs, tmp_path):
    (tmp_path / "link").symlink_to(runs)
    set_data(runs / "bad", str(tmp_path / "link" / ".uploads" / "abc" / "images"))
    assert run_actions.uploads_of_run(RunFolder(runs / "bad")) == runs / ".uploads" / "abc"
    run_actions.delete("bad", "")
    assert not (runs / ".uploads" / "abc").exists()


# What a page does after the folder of the runs, named by a relative path through a link, has become another one.
OTHER_FOLDER = """
import os
from pathlib import Path
from diffusion_demo.ui.server import model_list
from diffusion_demo.ui.train import plots, run_actions, run_list
Path("link").unlink()
Path("link").symlink_to("others")
os.chdir("/")
run = run_list.find_run("good", "").path
print(run, bool(plots._data_uri(run, next(run.glob("samples/*.png")).relative_to(run))))
run_actions.delete("bad", "")
print(*sorted(path.name for path in model_list.RUNS.glob("*/*") if path.parent.name == ".uploads"))
run_actions.delete("good", "")
"""


def test_only_the_runs_folder_of_the_start_is_served_and_deleted_from(runs):
    (runs / ".uploads" / "other").mkdir()
    for name in ("bad", "good"):
        set_data(runs / name, str(runs / ".uploads" / "abc" / "images"))
    shutil.copytree(runs, runs.parent / "others")
    (runs.parent / "link").symlink_to(runs.name)
    environment = os.environ | {"DIFFUSION_DEMO_RUNS": "link", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", OTHER_FOLDER]
    done = subprocess.run(command, cwd=runs.parent, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{runs / 'good'} True", "abc other"], done.stderr
    assert sorted(path.relative_to(runs).as_posix() for path in runs.glob("*/")) == [".uploads"]
    assert [path.name for path in (runs / ".uploads").iterdir()] == ["other"]
    assert all((runs.parent / "others" / name).is_dir() for name in ("bad", "good", ".uploads/abc/images"))


@pytest.mark.parametrize(
    "path",
    ["../secret.png", "{}/secret.png", "samples/link.png", "config.json", "samples/../config.json", "samples", "\x00"],
)
def test_previews_come_from_the_runs_own_samples(runs, path):
    (runs / "secret.png").write_bytes(b"secret")
    (runs / "bad" / "samples" / "link.png").symlink_to(runs / "secret.png")
    assert plots._data_uri(runs / "bad", path.format(runs)) is None
    real = next((runs / "bad" / "samples").glob("*.png"))
    assert plots._data_uri(runs / "bad", f"samples/{real.name}")


def test_a_link_in_a_run_is_not_packed(runs, monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (runs / "secret.png").write_bytes(b"secret")
    (runs / "bad" / "samples" / "link.png").symlink_to(runs / "secret.png")
    (runs / "bad" / "checkpoints" / "step_000012" / "linked").symlink_to(runs / "good")
    names = zipfile.ZipFile(run_actions.pack("bad", "").value["path"]).namelist()
    assert names and not [name for name in names if "link" in name]


def test_a_checkpoint_that_is_removed_while_it_is_packed_is_reported_in_one_sentence(runs, monkeypatch, tmp_path):
    def vanish(path, pattern):
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(Path, "rglob", vanish)
    with pytest.raises(gr.Error, match="Cannot create the ZIP"):
        run_actions.pack("good", "")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("events.jsonl", '{"type": "step"}\n'),
        ("events.jsonl", "[" * 100_000 + "\n"),
        ("config.json", "{"),
        ("checkpoints/step_000012/diffusion_demo.json", '{"held_out_loss": "abc"}'),
        ("checkpoints/step_000012/diffusion_demo.json", "[" * 100_000),
        ("checkpoints/step_000012/showcase/film.json", "{"),
    ],
)
def test_a_damaged_run_is_listed_and_the_rest_works(runs, file, content):
    (runs / "bad" / file).parent.mkdir(exist_ok=True)
    (runs / "bad" / file).write_text(content)
    assert set(run_list.visible_names("")) == {"bad", "good"}
    rows = {row["name"]: row for row in run_rows.rows("")["runs"]}
    assert rows.keys() == {"good", "bad"}
    assert any(name.startswith("good/") for name in model_list.model_folders())
    assert run_status.poll("bad", ["good"], "", None)[0].name == "bad"
    if file == "events.jsonl":
        assert rows["bad"]["label"] == "Damaged" and "delete" in rows["bad"]["actions"]


def test_the_zip_of_a_run_names_no_folder_of_the_machine(runs, tmp_path, monkeypatch):
    (tmp_path / "temp").mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "temp"))
    content = json.loads((runs / "good" / "config.json").read_text())
    content["config"]["data"] = [str(runs / "secret place" / "cats"), "/home/me/dogs.zip"]
    content["command"] = f"python -m diffusion_demo train --data '{runs}/secret place/cats' --run {runs}/good"
    (runs / "good" / "config.json").write_text(json.dumps(content))
    packed = run_actions.pack("good", "").value
    with zipfile.ZipFile(packed["path"] if isinstance(packed, dict) else packed) as archive:
        texts = {name: archive.read(name).decode(errors="replace") for name in archive.namelist()}
    config = json.loads(texts["good/config.json"])
    assert config["config"]["data"] == ["cats", "dogs.zip"] and "--data cats --run good" in config["command"]
    for name, text in texts.items():
        assert str(tmp_path) not in text and "secret place" not in text and "/home/me" not in text, name
