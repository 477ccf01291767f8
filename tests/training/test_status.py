"""Status of a run while its process is alive, after it has ended, and after it was killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from diffusion_demo.training import status
from diffusion_demo.training.process import last_log_line, launch, send_command
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.status import read_status


def write_events(folder, *lines):
    folder.mkdir(exist_ok=True)
    (folder / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return RunFolder(folder)


def start(pid, resumed_from=0, max_steps="null", max_minutes="null"):
    budget = f'"max_steps": {max_steps}, "max_minutes": {max_minutes}'
    return f'{{"type": "start", "pid": {pid}, "resumed_from": {resumed_from}, {budget}}}'


def step(number, elapsed=1.0):
    measures = f'"loss": 1.0, "bands": [1, 1, 1, 1], "images_seen": {8 * number}, "images_per_second": 4.0'
    return f'{{"type": "step", "step": {number}, {measures}, "elapsed": {elapsed}}}'


@pytest.fixture
def trainer():
    """A process that the command line shows as one of this program."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "diffusion_demo"])
    yield process
    process.kill()
    process.wait()


def test_a_finished_run_says_so(trained_run):
    status = read_status(RunFolder(trained_run))
    assert status.state == "finished" and status.step == 12 and status.images_seen == 96
    assert [event["step"] for event in status.previews] == [12] and [event["step"] for event in status.saved] == [6, 12]
    assert status.seconds_left is None and status.memory is None


def test_a_folder_without_events_is_empty(tmp_path):
    assert read_status(RunFolder(tmp_path / "none")).state == "empty"


def test_a_trainer_that_is_gone_without_a_word_was_interrupted(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    status = read_status(write_events(tmp_path / "run", start(gone.pid), step(1), step(5)))
    assert status.state == "interrupted" and status.step == 5


def test_a_trainer_that_ends_while_its_status_is_read_is_no_error(tmp_path, monkeypatch):
    ended = psutil.Process()
    monkeypatch.setattr(ended, "memory_info", lambda: (_ for _ in ()).throw(psutil.NoSuchProcess(ended.pid)))
    monkeypatch.setattr(status, "_find_trainer", lambda pid: ended)
    read = read_status(write_events(tmp_path / "run", start(1), step(1)))
    assert read.state == "running" and read.memory is None


def test_another_program_with_the_trainers_number_is_not_taken_for_it(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert read_status(write_events(tmp_path / "run", start(other.pid), step(1))).state == "interrupted"
    finally:
        other.kill()
        other.wait()


def test_what_a_later_start_supersedes_is_forgotten(tmp_path):
    status = read_status(
        write_events(tmp_path / "run", start(1), step(5), step(10), step(15), start(1, resumed_from=10), step(12))
    )
    assert [event["step"] for event in status.steps] == [5, 10, 12] and status.step == 12


def test_a_look_at_a_long_run_reads_only_what_is_new(tmp_path, monkeypatch):
    run = write_events(tmp_path / "run", start(1), *(step(number) for number in range(1, 2001)))
    assert len(read_status(run).steps) == 2000
    parsed, loads = [], json.loads
    monkeypatch.setattr("json.loads", lambda line: parsed.append(line) or loads(line))
    with run.events_file.open("a") as file:
        file.write(step(2001) + "\n" + step(2002)[:20])
    assert read_status(run).step == 2001 and len(parsed) == 1
    with run.events_file.open("a") as file:
        file.write(step(2002)[20:] + "\n")
    assert [event["step"] for event in read_status(run).steps] == list(range(1, 2003)) and len(parsed) == 2
    assert read_status(run).step == 2002 and len(parsed) == 2


def test_another_run_in_the_same_place_is_read_anew(tmp_path):
    lines = [start(1), step(5), step(10)]
    assert read_status(write_events(tmp_path / "run", *lines)).step == 10
    assert read_status(write_events(tmp_path / "run", start(2), step(7), step(11), step(12))).step == 12
    assert len(read_status(write_events(tmp_path / "run", start(2), step(7))).steps) == 1, "a shorter file"
    shutil.rmtree(tmp_path / "run")
    assert read_status(RunFolder(tmp_path / "run")).state == "empty"
    write_events(tmp_path / "run", start(3), step(1))
    assert [event["step"] for event in read_status(RunFolder(tmp_path / "run")).steps] == [1]


def test_an_end_belongs_to_the_call_that_wrote_it(tmp_path):
    end = '{"type": "failed", "step": 5, "message": "The disk is full."}'
    run = write_events(tmp_path / "run", start(1), step(5), end)
    assert read_status(run).state == "failed" and read_status(run).message == "The disk is full."
    with run.events_file.open("a") as file:
        file.write(start(1, resumed_from=5) + "\n")
    assert read_status(run).state == "interrupted" and not read_status(run).message


def test_a_damaged_line_is_damaged_at_every_look_and_once_mended_no_more(tmp_path):
    run = write_events(tmp_path / "run", start(1), "{half", step(5))
    for _ in range(2):
        with pytest.raises(ValueError, match="line 1"):
            read_status(run)
    assert read_status(write_events(tmp_path / "run", start(1), step(5))).step == 5


@pytest.mark.parametrize(
    ("budget", "left"),
    [({"max_steps": 40}, 60), ({"max_minutes": 1}, 40), ({"max_steps": 40, "max_minutes": 1}, 40), ({}, None)],
)
def test_the_time_left_is_the_nearer_budgets(tmp_path, trainer, budget, left):
    run = write_events(tmp_path / "run", start(trainer.pid, **budget), step(10, elapsed=20))
    assert read_status(run).seconds_left == (None if left is None else pytest.approx(left))


def test_the_time_left_of_a_continued_run_is_not_that_of_the_call_before(tmp_path, trainer):
    first = start(trainer.pid, max_minutes="1"), step(10, elapsed=60)
    run = write_events(tmp_path / "run", *first, start(trainer.pid, max_minutes="1", resumed_from=10))
    assert read_status(run).seconds_left is None
    with run.events_file.open("a") as file:
        file.write(step(11, elapsed=1) + "\n")
    assert read_status(run).seconds_left == pytest.approx(59)


def test_a_launched_trainer_is_followed_told_to_stop_and_found_finished(digits, tiny, tmp_path, environment):
    run = RunFolder(tmp_path / "run")
    arguments = [
        "--data",
        str(digits),
        "--run",
        str(run.path),
        *tiny,
        "--max-minutes",
        "10",
        "--save-every",
        "100000",
        "--sample-every",
        "100000",
    ]
    child = launch(run, arguments)
    wait_until(lambda: read_status(run).step >= 1)
    status = read_status(run)
    assert status.memory is not None and status.seconds_left is not None
    assert status.state == "running" and status.memory > 50_000_000 and 0 < status.seconds_left <= 600
    send_command(run, "stop")
    wait_until(lambda: read_status(run).state == "finished")
    assert child.wait(timeout=30) == 0 and run.latest() is not None


def test_a_launched_trainer_outlives_the_process_that_launched_it(digits, tiny, tmp_path, environment):
    run = RunFolder(tmp_path / "run")
    arguments = ["--data", str(digits), "--run", str(run.path), *tiny, "--max-minutes", "10", "--save-every", "100000"]
    script = f"""
from diffusion_demo.training.process import launch
from diffusion_demo.training.run_folder import RunFolder
launch(RunFolder({str(run.path)!r}), {arguments!r}).wait()
"""
    parent = subprocess.Popen([sys.executable, "-c", script], env=environment, start_new_session=True)
    wait_until(lambda: read_status(run).step >= 1)
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait()
    step = read_status(run).step
    wait_until(lambda: read_status(run).step > step)
    send_command(run, "stop")
    wait_until(lambda: read_status(run).state == "finished")
    assert run.latest() is not None


def test_a_killed_trainer_is_found_interrupted(digits, tiny, tmp_path):
    run = RunFolder(tmp_path / "run")
    launch(run, ["--data", str(digits), "--run", str(run.path), *tiny, "--max-minutes", "10", "--save-every", "100000"])
    wait_until(lambda: read_status(run).step >= 1)
    os.kill(run.events()[0]["pid"], signal.SIGKILL)
    wait_until(lambda: read_status(run).state == "interrupted")


def test_a_trainer_that_refuses_says_why_in_its_last_words(tmp_path):
    run = RunFolder(tmp_path / "run")
    child = launch(run, ["--data", str(tmp_path / "nowhere"), "--run", str(run.path), "--max-steps", "1"])
    assert child.wait(timeout=120) == 2
    assert "No file or folder at" in last_log_line(run) and read_status(run).state == "empty"
    shutil.rmtree(run.path)


def test_a_trainer_understands_three_words(tmp_path):
    with pytest.raises(ValueError, match="stop, sample_now, save_now, not 'pause'"):
        send_command(RunFolder(tmp_path), "pause")


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.1)
