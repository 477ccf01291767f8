"""Experiment trackers: their own files, read by their own packages, agree with the run folder, also after a resume."""

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys

import pytest

from diffusion_demo.cli import main
from diffusion_demo.training.run_folder import RunFolder
from tests.conftest import ROOT, TINY
from tests.training.events import of_type

OPTIONS = ["--save-every", "6", "--sample-every", "6", "--num-train-timesteps", "100"]


def missing(name):
    return pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")


def train(command, digits, folder, *arguments):
    done = command("train", "--run", "run", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@missing("tensorboard")
def test_tensorboard_has_the_losses_rates_and_previews_of_the_run_and_continues_with_it(command, digits, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    data = ["--data", digits, *TINY, *OPTIONS, "--log-with", "tensorboard"]
    run = train(command, digits, tmp_path, *data, "--max-steps", 8)
    train(command, digits, tmp_path, "--resume", "--max-steps", 12)
    logged = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0}).Reload()
    steps = of_type(run, "step")
    for name, field in (("train/loss", "loss"), ("train/learning_rate", "learning_rate")):
        values = {one.step: one.value for one in logged.Scalars(name)}
        assert values == pytest.approx({event["step"]: event[field] for event in steps}, rel=1e-6)
        assert max(values) == 12 and len(values) == len(logged.Scalars(name))
    held_out = {one.step: one.value for one in logged.Scalars("held_out/loss")}
    assert held_out == pytest.approx({e["step"]: e["loss"] for e in of_type(run, "held_out")}, rel=1e-6)
    previews = logged.Images("preview")
    assert [one.step for one in previews] == [event["step"] for event in of_type(run, "preview")]
    assert (previews[0].width, previews[0].height) == (64, 64)


@missing("tensorboard")
def test_a_step_that_is_taken_again_replaces_the_old_one(command, digits, tmp_path):
    """A killed run resumes from its last checkpoint, and takes the steps after it once more."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    data = ["--data", digits, *TINY, *OPTIONS, "--log-with", "tensorboard"]
    run = train(command, digits, tmp_path, *data, "--max-steps", 10)
    folder = RunFolder(run)
    for path in folder.checkpoints.glob("step_000010"):
        path.rename(tmp_path / "lost")
    (folder.checkpoints / "latest").write_text("step_000006\n")
    train(command, digits, tmp_path, "--resume", "--max-steps", 10)
    logged = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    steps = [one.step for one in logged.Scalars("train/loss")]
    assert steps == sorted(set(steps)) and steps[-1] == 10


@missing("trackio")
def test_trackio_has_the_losses_and_previews_of_the_run(digits, tmp_path):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}", "HF_HUB_OFFLINE": "1"}
    environment |= {"TRACKIO_DIR": str(tmp_path / "trackio")}
    for words in (
        ["--data", digits, *TINY, *OPTIONS, "--log-with", "trackio", "--max-steps", 8],
        ["--resume", "--max-steps", 12],
    ):
        line = [sys.executable, "-m", "diffusion_demo", "train", "--run", "run", *map(str, words)]
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert not [event for event in of_type(tmp_path / "run", "warned") if "trackio" in event["message"]]
    (database,) = (tmp_path / "trackio").glob("diffusion-demo.db")
    stored = sqlite3.connect(database).execute("SELECT run_name, step, metrics FROM metrics").fetchall()
    rows = [(name, step, json.loads(metrics)) for name, step, metrics in stored]
    losses = {step: metrics["train/loss"] for _, step, metrics in rows if "train/loss" in metrics}
    expected = {event["step"]: event["loss"] for event in of_type(tmp_path / "run", "step")}
    assert losses == pytest.approx(expected) and {name for name, _, _ in rows} == {"run"}
    assert any("preview" in metrics for _, _, metrics in rows)


def test_a_tracker_that_is_not_installed_is_one_sentence(digits, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    words = ["train", "--data", str(digits), "--run", str(tmp_path / "run"), *TINY, "--max-steps", "1"]
    assert main([*words, "--log-with", "wandb"]) == 2
    error = capsys.readouterr().err
    assert error == "wandb is not installed. Run: pip install wandb, or leave out --log-with.\n"
    assert main([*words, "--log-with", "paper"]) == 2
    assert "Log with must be one of tensorboard, trackio, wandb" in capsys.readouterr().err
    assert not RunFolder(tmp_path / "run").exists


@missing("tensorboard")
def test_a_tracker_that_fails_is_a_warning_and_the_training_goes_on(command, digits, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").write_text("a file in the place of the folder")
    run = train(command, digits, tmp_path, "--data", digits, *TINY, "--log-with", "tensorboard", "--max-steps", 2)
    (warned,) = [event for event in of_type(run, "warned") if "tensorboard" in event["message"]]
    assert warned["message"].startswith("tensorboard no longer tracks this run (")
    assert of_type(run, "finished")[0]["step"] == 2
