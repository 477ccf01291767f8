"""Housekeeping: what is old and unused is deleted, and nothing else."""

import os
import time
import uuid
from pathlib import Path

import gradio as gr
import pytest

from diffusion_demo.training import queue
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.server import disk_quota, housekeeping, model_list, temp_files
from diffusion_demo.ui.settings import Settings
from diffusion_demo.ui.train import run_actions, uploads

DAY = 24 * 3600


def make_old(path: Path, seconds: float) -> None:
    changed = time.time() - seconds
    os.utime(path, (changed, changed))


@pytest.fixture
def runs(tmp_path, monkeypatch):
    folder = tmp_path.resolve() / "runs"
    monkeypatch.setattr(model_list, "RUNS", folder)
    monkeypatch.setattr(uploads, "UPLOADS", folder / ".uploads")
    monkeypatch.setattr(uploads, "SCANS", folder / ".scans")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "temporary"))
    return folder


@pytest.mark.parametrize("public", [True, False])
def test_only_old_uploads_that_no_run_uses_are_deleted_and_only_on_a_public_page(runs, monkeypatch, public):
    monkeypatch.setattr(housekeeping, "settings", lambda: Settings(public=public))
    folders = {name: uploads.UPLOADS / name for name in ("unused", "used", "young", "drawn")}
    for folder in folders.values():
        (folder / "images").mkdir(parents=True)
    queue.add_new(runs, "mine", {"data": str(folders["used"] / "images")}, 5)
    for name in ("unused", "used", "drawn"):
        make_old(folders[name], 2 * DAY)
    housekeeping.run_once(gr.Blocks())
    kept = {name for name, folder in folders.items() if (folder / "images").is_dir()}
    assert kept == folders.keys() - ({"unused"} if public else set())


def test_only_scans_that_nobody_has_looked_at_for_a_day_are_deleted(runs):
    uploads.SCANS.mkdir(parents=True)
    for name, age in (("old", 2 * DAY), ("young", DAY / 2)):
        (uploads.SCANS / f"{name}.jsonl").write_text("{}")
        make_old(uploads.SCANS / f"{name}.jsonl", age)
    housekeeping.run_once(gr.Blocks())
    assert [file.name for file in uploads.SCANS.iterdir()] == ["young.jsonl"]


def test_an_interrupted_deletion_of_a_run_is_finished(runs, monkeypatch):
    for name in ("mine", "other"):
        (runs / name).mkdir(parents=True)
        RunFolder(runs / name).write_config(TrainConfig(data="x"), {}, "train")
    with monkeypatch.context() as interrupted:
        interrupted.setattr(run_actions.shutil, "rmtree", lambda *arguments, **options: None)
        run_actions.delete("mine", "")
    assert len([path for path in runs.iterdir() if path.name.startswith(".mine")]) == 1
    housekeeping.run_once(gr.Blocks())
    assert [path.name for path in runs.iterdir()] == ["other"]


def test_temporary_files_are_deleted_by_age_except_those_of_the_page(tmp_path, monkeypatch):
    own = tmp_path / f"{temp_files.PREFIX}{os.getpid()}_x"
    (own / "empty" / "inner").mkdir(parents=True)
    for name in ("made.png", "example.png"):
        (own / name).write_bytes(b"pixels")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(own))
    temp_files.delete_old(3600, set())
    assert len(list(own.rglob("*"))) == 4
    temp_files.delete_old(-3600, {str(own / "example.png")})
    assert [path.name for path in own.rglob("*")] == ["example.png"]


def test_a_folder_that_vanishes_during_a_scan_does_not_end_it(tmp_path, monkeypatch):
    own = tmp_path / f"{temp_files.PREFIX}{os.getpid()}_x"
    for name in ("first", "second", "third"):
        (own / name).mkdir(parents=True)
        (own / name / "made.png").write_bytes(b"pixels")
    scandir = os.scandir

    def vanishing(folder):
        if os.path.basename(folder) == "second" and os.path.exists(folder):
            os.rename(folder, tmp_path / f"gone-{uuid.uuid4().hex}")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", vanishing)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(own))
    assert disk_quota.folder_size(own) == 12
    (own / "second").mkdir()  # vanishes again
    temp_files.delete_old(-3600, set())
    assert not list(own.iterdir())


@pytest.mark.parametrize("name", ["pictures", f"{temp_files.PREFIX}0_x"])
def test_a_temporary_folder_of_the_user_or_of_another_server_is_left_alone(tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "holiday.png").write_bytes(b"pixels")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / name))
    temp_files.delete_old(-3600, set())
    assert (tmp_path / name / "holiday.png").is_file()
