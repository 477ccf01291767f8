"""The queue of runs: its order, its file, and its scheduler, with real processes that are killed."""

import errno
import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psutil
import pytest

from diffusion_demo.errors import BadInput
from diffusion_demo.training import events, process, queue
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.run_scheduler import MAX_ATTEMPTS, RunScheduler, holding_lock
from tests.conftest import ROOT
from tests.training.events import events_of, of_type

SETTINGS = {"preset": "tiny", "image_size": 16, "channels": 1, "batch_size": 8, "precision": "fp32"}
SETTINGS |= {"num_train_timesteps": 100, "warmup_steps": 2, "save_every": 5, "sample_every": 1000}


@pytest.fixture
def runs(tmp_path):
    """A runs folder; trainers of its runs are killed at the end."""
    yield (tmp_path / "runs").resolve()
    for trainer in trainers(tmp_path):
        trainer.kill()


def trainers(folder):
    """Return the trainers of runs in a folder."""
    found = []
    for one in psutil.process_iter(["cmdline"]):
        line = " ".join(one.info["cmdline"] or [])
        if str(folder) in line and "diffusion_demo train" in line:
            found.append(one)
    return found


def names(runs):
    return [entry.run for entry in queue.read_queue(runs).waiting]


def test_runs_start_in_the_order_of_the_queue_which_can_be_changed(runs):
    for name in ("a", "b", "c"):
        queue.add_new(runs, name, SETTINGS, 5)
    assert names(runs) == ["a", "b", "c"]
    queue.move_up(runs, "c")
    assert names(runs) == ["a", "c", "b"], "one place"
    queue.move_up(runs, "a")
    assert names(runs) == ["a", "c", "b"], "the first one stays the first"
    queue.remove(runs, "c")
    assert names(runs) == ["a", "b"] and not queue.read_queue(runs).paused
    assert queue.set_paused(runs, True).paused and queue.read_queue(runs).paused
    assert json.loads((runs / "b" / process.SETTINGS).read_text()) == SETTINGS
    with pytest.raises(BadInput, match="a already"):
        queue.add_new(runs, "a", SETTINGS, 5)
    with pytest.raises(BadInput, match="no run c in the queue"):
        queue.remove(runs, "c")
    queue.change_queue(runs, lambda old: old.with_entry(replace(old.entries[0], waiting=False)))
    for change in (queue.remove, queue.move_up):
        with pytest.raises(BadInput, match="a has started"):
            change(runs, "a")


def test_a_run_that_cannot_be_queued_leaves_no_folder(runs, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(process, "atomic_write", fail)
    with pytest.raises(OSError, match="No space left"):
        queue.add_new(runs, "a", SETTINGS, 5)
    assert not (runs / "a").exists() and not names(runs)


def test_changes_at_the_same_time_lose_no_run(runs):
    def add(thread):
        for i in range(5):
            queue.add_new(runs, f"{thread}-{i}", SETTINGS, 5)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(6)))
    assert len(names(runs)) == 30


def test_the_queue_has_a_last_place(runs, monkeypatch):
    monkeypatch.setattr(queue, "MAX_ENTRIES", 1)
    queue.add_new(runs, "a", SETTINGS, 5)
    with pytest.raises(BadInput, match="holds 1 runs"):
        queue.add_new(runs, "b", SETTINGS, 5)
    assert not (runs / "b").exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        *(f'{{"entries": [{{"run": "{name}", "resume": false, "max_minutes": 1}}]}}' for name in ("../x", "..", "")),
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_reported_in_one_sentence_and_starts_nothing(runs, content):
    runs.mkdir()
    (runs / queue.FILE).write_text(content)
    with pytest.raises(BadInput, match="of runs cannot be read"):
        RunScheduler(runs).step()
    assert (runs / queue.FILE).read_text() == content


def test_a_run_that_was_marked_but_not_launched_is_started_and_one_that_never_begins_is_given_up(runs):
    queue.add_new(runs, "a", SETTINGS, 5)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        marked = RunScheduler(runs)._mark(queue.read_queue(runs), "a", 0)
        queue.change_queue(runs, lambda _, marked=marked: marked)
        assert queue.read_queue(runs).entries[0].attempts == attempt and names(runs) == []
        RunScheduler(runs).recover()  # as after a kill before the launch
        assert names(runs) == (["a"] if attempt < MAX_ATTEMPTS else [])
    assert queue.read_queue(runs).entries == ()


def test_an_interrupted_run_is_continued_for_what_is_left_of_its_time(runs):
    queue.add_new(runs, "a", SETTINGS, 5)
    marked = RunScheduler(runs)._mark(queue.read_queue(runs), "a", 0)
    queue.change_queue(runs, lambda _: marked)
    run = RunFolder(runs / "a")
    run.config_file.write_text("{}")
    run.append(events.Start(2**22, 0, None, 5, "cpu", "fp32", 1, 1, "diffusion"))
    for step, seconds in ((9, 60), (18, 120)):
        run.append(events.Step(step, 1, 1, None, (None,) * 4, 1, 1e-3, 8 * step, 1, seconds))
    RunScheduler(runs).recover()  # as after a kill of scheduler and trainer
    (entry,) = queue.read_queue(runs).waiting
    assert entry.resume and entry.max_minutes == 3


def test_a_paused_queue_starts_nothing_and_a_pause_between_the_look_and_the_start_counts(runs):
    queue.add_new(runs, "a", SETTINGS, 5)
    old = queue.read_queue(runs)
    queue.set_paused(runs, True)
    assert RunScheduler(runs).step().waiting and not trainers(runs)
    assert RunScheduler(runs)._start_next(old).waiting and not trainers(runs)


def test_each_device_gets_its_own_trainers(runs):
    scheduler = RunScheduler(runs, per_device=2, num_devices=lambda: 2)
    entries = [queue.Entry(name, False, 5, waiting=False, device=device) for name, device in (("a", 0), ("b", 0))]
    assert scheduler._free_device(queue.Queue(tuple(entries))) == 1
    entries += [queue.Entry("c", False, 5, waiting=False, device=1)]
    assert scheduler._free_device(queue.Queue(tuple(entries))) == 1
    entries += [queue.Entry("d", False, 5, waiting=False, device=1)]
    assert scheduler._free_device(queue.Queue(tuple(entries))) is None


def test_one_process_schedules(runs):
    with holding_lock(runs) as first, holding_lock(runs) as second:
        assert first and not second
    with holding_lock(runs) as again:
        assert again


def wait_for(condition, what, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_no_run_is_lost_or_run_twice_when_scheduler_and_trainer_are_killed(runs, digits, environment):
    environment = environment | {"DIFFUSION_DEMO_RUNS": str(runs)}

    def call(*words):
        line = [sys.executable, "-m", "diffusion_demo", "queue", *words]
        return subprocess.Popen(line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)

    for name, steps in (("first", 40), ("second", 6), ("third", 6)):
        queue.add_new(runs, name, SETTINGS | {"data": str(digits)}, None, steps)

    scheduler = call("run")
    wait_for(lambda: trainers(runs / "first"), "the first run does not start")
    scheduler.kill()  # SIGKILL: the trainer goes on, and the next scheduler must not start it again
    scheduler.wait()
    scheduler = call("run")
    wait_for(lambda: of_type(runs / "first", "saved"), "the first run saves nothing")
    assert len(of_type(runs / "first", "start")) == 1 and len(trainers(runs)) == 1
    for victim in (psutil.Process(scheduler.pid), *trainers(runs)):
        victim.send_signal(signal.SIGKILL)
    scheduler.wait()
    wait_for(lambda: not trainers(runs), "the trainer survives SIGKILL")
    assert [entry.run for entry in queue.read_queue(runs).entries] == ["first", "second", "third"]

    scheduler = call("run")
    wait_for(lambda: trainers(runs), "no run goes on")
    assert call("run").communicate(timeout=60)[0].startswith("The web page, or another command, is already")
    output, _ = scheduler.communicate(timeout=400)
    assert scheduler.returncode == 0 and queue.read_queue(runs) == queue.Queue()
    assert [line for line in output.splitlines() if "started" in line] == [
        "first has started.",
        "second has started.",
        "third has started.",
    ]
    assert [start["resumed_from"] > 0 for start in of_type(runs / "first", "start")] == [False, True]
    for name, steps in (("first", 40), ("second", 6), ("third", 6)):
        assert len(of_type(runs / name, "start")) == (2 if name == "first" else 1)
        assert events_of(runs / name)[-1]["type"] == "finished" and events_of(runs / name)[-1]["step"] == steps
    finished = [RunFolder(runs / name).events_file.stat().st_mtime for name in ("first", "second", "third")]
    assert finished == sorted(finished)
