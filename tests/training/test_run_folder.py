"""The run folder: checkpoints that are kept, and cleanup after a killed process."""

import json
import os
from pathlib import Path

import pytest

from diffusion_demo.errors import BadInput
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.run_folder import KEPT_CHECKPOINTS, RunFolder


def add(run, step):
    return run.add_checkpoint(step, lambda folder: folder.mkdir())


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


def test_the_newest_few_checkpoints_are_kept_and_latest_names_the_last(run):
    for step in range(1, KEPT_CHECKPOINTS + 3):
        add(run, step)
    assert len(list(run.checkpoints.glob("step_*"))) == KEPT_CHECKPOINTS
    assert run.latest().name == f"step_{KEPT_CHECKPOINTS + 2:06d}"


def test_a_checkpoint_of_a_lower_step_is_not_dropped_as_soon_as_it_is_written(run):
    for step in (100, 200, 300):
        add(run, step)
    assert add(run, 1).is_dir() and run.latest().name == "step_000001"


def test_where_the_named_checkpoint_is_gone_the_highest_one_counts(run):
    for step in (9, 100):
        add(run, step)
    add(run, 200).rmdir()
    assert run.latest().name == "step_000100"


def test_a_new_call_takes_away_what_killed_ones_left_half_written(run):
    add(run, 1)
    (run.checkpoints / ".step_000002.partial" / "unet").mkdir(parents=True)
    for folder in (run.cache, run.samples, run.path):
        folder.mkdir(exist_ok=True)
        (folder / ".training.npy.0123abcd.partial").write_bytes(b"half")
    run.config_file.write_text("{}")
    (run.cache / "training.npy").write_bytes(b"whole")
    with run.lock():
        pass
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["latest", "step_000001"]
    assert not list(run.path.rglob("*.partial")) and (run.cache / "training.npy").exists()


def test_a_new_call_takes_away_the_half_line_of_a_killed_process(run):
    run.path.mkdir(parents=True, exist_ok=True)
    run.events_file.write_bytes(b'{"type": "step"}\n{"type": "st')
    run.begin_call()
    assert run.events_file.read_bytes() == b'{"type": "step"}\n'


def test_a_failed_write_of_a_checkpoint_keeps_the_one_before_of_the_same_step(run):
    folder = run.add_checkpoint(7, lambda folder: (folder.mkdir(), (folder / "a").write_text("old")))

    def fail(folder):
        folder.mkdir()
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        run.add_checkpoint(7, fail)
    assert (folder / "a").read_text() == "old" and not list(run.path.rglob("*.partial"))
    run.add_checkpoint(7, lambda folder: (folder.mkdir(), (folder / "a").write_text("new")))
    assert (folder / "a").read_text() == "new"


def test_a_checkpoint_is_flushed_to_the_disk_before_it_gets_its_name(run, monkeypatch):
    flushed, fsync = [], os.fsync

    def record(descriptor):
        flushed.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", record)
    run.add_checkpoint(7, lambda folder: ((folder / "unet").mkdir(parents=True), (folder / "unet" / "w").touch()))
    relative = [path.relative_to(run.checkpoints).as_posix().split(".partial") for path in flushed]
    assert {rest for start, *rest_ in relative for rest in rest_ if start.startswith(".step_000007")} >= {"", "/unet/w"}
    assert flushed[-1] == run.checkpoints, "the names themselves"


def test_control_lines_of_an_earlier_call_are_forgotten_and_half_a_line_waits(run):
    run.control_file.write_text('{"type": "stop"}\n')
    run.begin_call()
    assert run.control() == (set(), [])
    with run.control_file.open("a") as file:
        file.write('{"type": "save_now"}\n{"type": "sto')
        file.flush()
        assert run.control() == ({"save_now"}, [])
        file.write('p"}\n')
    assert run.control() == ({"stop"}, []) and run.control() == (set(), [])


@pytest.mark.parametrize(
    "line",
    [b"stop please", b"\xff\xfe", b"[]", b'"stop"', b"{}", b'{"type": ["stop"]}', b'{"type": "pause"}', b"[" * 100_000],
    ids=["words", "no text", "a list", "a string", "empty", "a list of commands", "unknown", "deep"],
)
def test_a_line_that_is_no_command_is_ignored_and_named(run, line):
    run.control_file.write_bytes(line + b"\n" + b'{"type": "sample_now"}\n')
    commands, ignored = run.control()
    assert commands == {"sample_now"} and ignored == [line.decode(errors="replace")]


def test_a_line_without_end_does_not_hide_the_commands_after_it(run):
    run.control_file.write_bytes(b"x" * 2_500_000 + b'\n{"type": "stop"}\n')
    assert "stop" in set().union(*(run.control()[0] for _ in range(4)))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_something_else_in_the_place_of_the_commands_is_no_command(run, make):
    make(run.control_file)
    run.begin_call()
    assert run.control() == (set(), [])


def test_a_run_that_does_not_start_leaves_none_of_the_folders_above_it(tmp_path):
    with RunFolder(tmp_path / "new" / "run").lock():
        assert (tmp_path / "new" / "run").exists()
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_a_run_is_refused(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(BadInput, match="another run folder"), RunFolder(tmp_path / "run").lock():
        pass


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"of_a_newer_release": 1}, "There is no setting 'of_a_newer_release'. Remove it, or correct its name."),
        ({"batch_size": 0}, "Batch size must be from 1 to 4096, not 0."),
    ],
)
def test_a_run_with_a_setting_that_cannot_be_used_names_it(run, change, sentence):
    config = TrainConfig(data="images").model_dump() | change
    run.config_file.write_text(json.dumps({"config": config, "data": {}, "command": ""}))
    with pytest.raises(BadInput) as refused:
        run.read_config()
    assert str(refused.value) == f"A setting in {run.config_file} cannot be used. {sentence}"


def test_a_run_whose_config_is_damaged_is_refused(run):
    run.config_file.write_text("{")
    with pytest.raises(BadInput, match="Start a new run"):
        run.read_config()


@pytest.mark.parametrize("readings", range(4))
def test_a_run_that_is_deleted_while_the_others_are_listed_is_no_error(tmp_path, monkeypatch, readings):
    for name in ("own", "other", "gone"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    stat, left = Path.stat, [None] * readings

    def vanishing(path, **options):
        if path.parent.name == "gone":
            if not left:
                raise FileNotFoundError(2, "No such file or directory", str(path))
            left.pop()
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", vanishing)
    assert "other" in [sibling.path.name for sibling in RunFolder(tmp_path / "own").siblings()]
