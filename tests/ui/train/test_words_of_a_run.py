"""What the page says of a run and of images: epochs, what to expect, copies, fixes, commands under way."""

import json
from dataclasses import replace

import gradio as gr
import pytest
from PIL import Image

from diffusion_demo.data import scan
from diffusion_demo.training import status as status_module
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.process import send_command
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.status import Status, read_status
from diffusion_demo.ui.server import model_list
from diffusion_demo.ui.train import budget, run_status
from diffusion_demo.ui.train.expectations import expectation
from diffusion_demo.ui.train.fixes import fixes_for
from diffusion_demo.ui.train.form import patience_of

FORM = {"start_from": "a new small network", "image_size": 32, "channels": 3, "fit": "crop", "background": "#ffffff"}
FORM |= {"drop_duplicates": False, "balance_classes": False}


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (10, "7 % of the images once"),
        (150, "each image about once"),
        (570, "each image about 4 times"),
        (100_000, "each image about 670 times"),
        (0, "1 % of the images once"),
    ],
)
def test_how_often_each_image_is_seen(images, words):
    assert budget.times_seen(images, 150) == words


def test_the_shortest_duration_that_shows_something_is_recommended():
    def recommended(speed, needed):
        return [value for label, value in budget.duration_choices(speed, 150, needed) if "recommended" in label]

    assert recommended(25, 3_000) == ["Quick try, 3 min"] and recommended(25, 20_000) == ["15 min"]
    assert recommended(0.01, 20_000) == ["4 hours"]


def test_a_short_run_says_what_to_expect_and_a_long_one_speaks_for_itself():
    config = TrainConfig(data="x")
    running = Status("running", step=38, images_per_second=20.0)
    assert "noise, then blurred colors" in expectation(running, config) and "in about 16 min" in expectation(
        running, config
    )
    ended = expectation(replace(running, state="finished"), config)
    assert "has seen 1,216 images" in ended and "Continue training" in ended
    assert expectation(replace(running, step=700), config) == ""
    assert "More training" in expectation(replace(running, step=700, state="finished"), config)
    assert expectation(replace(running, step=70_000, state="finished"), config) == ""
    tuned = TrainConfig(data="x", init_from="avatars-32")
    assert "3,000" in expectation(running, tuned) and expectation(replace(running, step=100), tuned) == ""


def test_previews_that_copy_are_called_so_whatever_else_there_is_to_say():
    copying = Status("running", step=5000, previews=({"step": 1, "copies": 0.0}, {"step": 2, "copies": 0.5}))
    assert "copy training images (50 %" in expectation(copying, TrainConfig(data="x"))
    assert expectation(replace(copying, previews=copying.previews[:1]), TrainConfig(data="x")) == ""


def test_fixes_follow_from_the_images_and_undo_themselves(tmp_path):
    for name, count, size in (("cats", 9, (20, 40)), ("dogs", 2, (24, 24))):
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.new("L", size, 20 * i).save(tmp_path / name / f"{i}.png")
    (tmp_path / "cats" / "copy.png").write_bytes((tmp_path / "cats" / "1.png").read_bytes())
    report = scan(tmp_path)
    found = {fix.key: fix for fix in fixes_for(report, FORM)}
    assert {key: (fix.field, fix.new_value) for key, fix in found.items()} == {
        "duplicates": ("drop_duplicates", True),
        "size": ("image_size", 16),
        "gray": ("channels", 1),
        "pad": ("fit", "pad"),
        "balance": ("balance_classes", True),
    }
    applied = FORM | {fix.field: fix.value for fix in found.values()}
    again = {fix.key: fix for fix in fixes_for(report, applied)}
    assert all(fix.applied for fix in again.values()) and again.keys() == found.keys()
    assert {fix.field: fix.new_value for fix in again.values()}.items() <= FORM.items()
    colored = fixes_for(report, FORM | {"start_from": "avatars-32"})
    assert "gray" not in [fix.key for fix in colored], "an existing color model keeps its channels"


@pytest.fixture
def training(trained_run, tmp_path):
    """A run whose trainer seems to be this test, and a function that appends an event to it."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.config_file.write_text((trained_run / "config.json").read_text())
    kept = [event for event in RunFolder(trained_run).events() if event["type"] not in ("finished", "preview", "saved")]
    run.events_file.write_text("".join(json.dumps(event) + "\n" for event in kept))

    def append(kind, **fields):
        with run.events_file.open("a") as file:
            file.write(json.dumps({"type": kind, **fields}) + "\n")

    return run, append


def pending(run, monkeypatch):
    class Alive:
        def memory_info(self):
            return type("Info", (), {"rss": 1})()

    monkeypatch.setattr(status_module, "_find_trainer", lambda pid: Alive())
    return read_status(run).pending


def test_a_command_is_pending_until_its_result_or_the_end(training, monkeypatch):
    run, append = training
    assert pending(run, monkeypatch) == frozenset()
    for command in ("sample_now", "save_now", "stop"):
        send_command(run, command)
    assert RunFolder(run.path).control()[0] == {"sample_now", "save_now", "stop"}, "the trainer still reads them"
    assert pending(run, monkeypatch) == {"sample_now", "save_now", "stop"}
    append("preview", step=12, path="samples/step_000012.png", raw_path="")
    assert pending(run, monkeypatch) == {"save_now", "stop"}
    append("saved", step=12, path="checkpoints/step_000012")
    assert pending(run, monkeypatch) == {"stop"}
    append("finished", step=12, reason="stopped")
    assert pending(run, monkeypatch) == frozenset()
    append("start", **{key: value for key, value in run.events()[0].items() if key != "type"} | {"pid": 1})
    assert pending(run, monkeypatch) == frozenset(), "the next trainer is not the one that was told to stop"


def test_a_validation_loss_after_the_last_step_reaches_the_chart(training, monkeypatch):
    run, append = training
    monkeypatch.setattr(model_list, "RUNS", run.path.parent)
    curves = 3  # place among the outputs of `poll`
    append("finished", step=12, reason="stopped")
    snapshot = run_status.poll("run", None, None, None)[0]
    append("held_out", step=12, loss=0.0123)
    changed = run_status.poll("run", None, None, snapshot)
    assert "0.0123" in json.dumps(changed[curves])
    assert run_status.poll("run", None, None, changed[0])[curves] == gr.skip()


def test_a_preview_that_failed_is_not_pending_for_ever(training, monkeypatch):
    run, append = training
    step = next(event for event in reversed(run.events()) if event["type"] == "step")
    send_command(run, "sample_now")
    append("step", **{key: step[key] for key in step if key not in ("type", "step")}, step=step["step"] + 5)
    assert pending(run, monkeypatch) == {"sample_now"}
    append("step", **{key: step[key] for key in step if key not in ("type", "step")}, step=step["step"] + 10)
    assert pending(run, monkeypatch) == frozenset()


@pytest.mark.parametrize(
    "line", ["", "[]", "5", "null", '{"type": "stop"}', '{"type": ["stop"], "pid": 1}', "\xff", "{"]
)
def test_odd_lines_of_control_are_not_pending(training, monkeypatch, line):
    run, _ = training
    run.control_file.write_text(line + "\n", encoding="latin-1")
    assert pending(run, monkeypatch) == frozenset()


def test_long_runs_stop_early_by_default():
    assert [patience_of(label) for label in budget.DURATIONS] == [0, 0, budget.PATIENCE, budget.PATIENCE]
    assert patience_of("an eternity") == 0 and patience_of(None) == 0


def test_batch_sizes_share_the_measurements_of_powers_of_two(monkeypatch):
    measured = []
    monkeypatch.setattr(budget, "_measure_speed", lambda *arguments: measured.append(arguments[-1]) or 1.0)
    for batch_size in (1, 2, 3, 32, 33, 64):
        budget.measure_speed("a new small network", 32, 3, batch_size)
    assert measured == [1, 2, 4, 32, 64, 64]
