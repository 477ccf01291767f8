"""Damaged and tampered run folders: each is read as damaged or refused in one sentence, and never waited for."""

import json
import os
import shutil

import pytest
import torch

from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.training.process import last_log_line, send_command
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.state import load_state, read_counters
from diffusion_demo.training.status import read_status

DEEP = "[" * 100_000
CONTENTS = ["", "{", "[]", "null", "5", '"x"', DEEP, "\x00", "\udcff", '{"config": 5}', '{"config": {}, "data": 1}']
# Changes of single fields of a checkpoint's metadata.
METADATA = [
    {"held_out_loss": "abc"},
    {"held_out_loss": [1]},
    {"image_size": "32"},
    {"image_size": 0},
    {"image_size": 10**9},
    {"image_size": 16.5},
    {"channels": -1},
    {"num_train_timesteps": 10**12},
    {"class_names": 5},
    {"class_names": [5]},
    {"class_names": None},
    {"titles": []},
    {"titles": {"one": 5}},
    {"guidance": "yes"},
    {"steps": None},
    {"task": "other"},
    {"task": 5},
    {"small_size": "x"},
    {"data": "x"},
    {"unknown": 1},
]
# Events that replace one of a real run.
EVENTS = [
    {"type": "start"},
    {"type": "start", "pid": "1", "resumed_from": 0, "max_steps": None, "max_minutes": None},
    {"type": "start", "pid": 1, "resumed_from": "x", "max_steps": None, "max_minutes": None},
    {"type": "step", "step": 1},
    {"type": "step", "step": "1", "loss": 1.0, "bands": [1, 1, 1, 1], "elapsed": 1},
    {"type": "step", "step": 1, "loss": "abc", "bands": [1, 1, 1, 1], "elapsed": 1},
    {"type": "step", "step": 1, "loss": 1.0, "bands": [1], "elapsed": 1},
    {"type": "step", "step": 1, "loss": 1.0, "bands": ["a", 1, 1, 1], "elapsed": 1},
    {"type": "step", "step": 1, "loss": 1.0, "bands": [1, 1, 1, 1], "elapsed": "x"},
    {"type": "held_out", "step": 1, "loss": None},
    {"type": "preview", "step": 1, "path": 5},
    {"type": "preview", "step": 1},
    {"type": 5},
    {},
    [],
    None,
]


@pytest.fixture
def run(trained_run, tmp_path):
    shutil.copytree(trained_run, tmp_path / "run")
    return RunFolder(tmp_path / "run")


@pytest.mark.parametrize("content", CONTENTS)
def test_a_damaged_config_is_one_sentence(run, content):
    run.config_file.write_text(content, errors="surrogateescape")
    with pytest.raises(BadInput, match=r"Cannot read .*config\.json"):
        run.read_config()


@pytest.mark.parametrize("change", METADATA)
def test_damaged_metadata_is_one_sentence_and_the_best_of_the_others_is_found(run, change):
    file = run.latest() / "diffusion_demo.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(BadInput, match="Copy the checkpoint again"):
        load_metadata(run.latest())
    assert run.best() != run.latest()


@pytest.mark.parametrize(
    "change",
    [
        {"step": "12"},
        {"step": None},
        {"initial_images": None},
        {"ema_steps": 1.5},
        {"schedule": 5},
        {"early_stopping": {}},
        {"early_stopping": {"best": "x", "best_step": 0, "worse": 0}},
    ],
)
def test_damaged_counters_are_reported_in_one_sentence(run, change):
    file = run.latest() / "state" / "counters.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(BadInput, match="damaged or incomplete"):
        read_counters(file.parent)


@pytest.mark.parametrize("event", EVENTS)
def test_a_damaged_event_is_a_value_error(run, event):
    with run.events_file.open("a") as file:
        file.write(json.dumps(event) + "\n")
    with pytest.raises(ValueError, match=r"event|line"):
        read_status(run)


@pytest.mark.parametrize("content", [DEEP + "\n", "\udcff\n", "{\n", "\x00\n"])
def test_damaged_lines_of_events_are_a_value_error(run, content):
    with run.events_file.open("a", errors="surrogateescape") as file:
        file.write(content)
    with pytest.raises(ValueError, match=r".+"):
        read_status(run)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["config.json", "events.jsonl", "trainer.log", "control.jsonl", "checkpoints/latest"])
@pytest.mark.timeout(60)
def test_a_pipe_in_place_of_a_file_is_not_waited_for(run, name):
    (run.path / name).unlink(missing_ok=True)
    os.mkfifo(run.path / name)
    for read in (run.read_config, lambda: read_status(run), run.latest, run.best, run.control):
        try:
            read()
        except (BadInput, OSError, ValueError) as error:
            assert str(error)
    assert isinstance(last_log_line(run), str)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
@pytest.mark.timeout(60)
def test_a_call_does_not_begin_or_wait_where_events_cannot_be_written(run, make):
    run.events_file.unlink()
    make(run.events_file)
    with pytest.raises(BadInput, match=r"events\.jsonl is not a file\. Move it away"):
        run.begin_call()


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "counters.json"])
@pytest.mark.timeout(60)
def test_a_pipe_in_a_training_state_is_not_waited_for(run, name):
    latest = run.latest()
    assert latest is not None
    (latest / "state" / name).unlink()
    os.mkfifo(latest / "state" / name)
    unet = load_checkpoint(latest).unet
    with pytest.raises(BadInput, match=r"is damaged or incomplete"):
        load_state(latest / "state", unet, torch.optim.AdamW(unet.parameters()), {}, None)


@pytest.mark.timeout(60)
def test_a_command_does_not_wait_for_a_pipe_in_place_of_the_control_file(run):
    run.control_file.unlink(missing_ok=True)
    os.mkfifo(run.control_file)
    with pytest.raises(OSError, match="not a regular file"):
        send_command(run, "stop")


def test_a_call_removes_only_the_incomplete_last_line_of_a_damaged_file(run):
    run.events_file.write_bytes(b"\xff\n{")
    run.begin_call()
    assert run.events_file.read_bytes() == b"\xff\n"


LINES = [
    b"stop please\n",
    b"\xff\xfe\n",
    b"[]\n",
    b"5\n",
    b"{}\n",
    b'{"type": 5}\n',
    b'{"type": "rm"}\n',
    DEEP.encode() + b"\n",
]


def test_lines_that_are_no_commands_are_ignored_and_returned(run):
    run.control_file.write_bytes(b"")
    run.begin_call()
    for line in LINES:
        with run.control_file.open("ab") as file:
            file.write(line + b'{"type": "save_now"}\n')
        assert run.control() == ({"save_now"}, [line.rstrip().decode(errors="replace")])
