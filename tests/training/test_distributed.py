"""Two real processes of one run, connected by gloo: commands, budgets, signals, and one process that fails or dies."""

import resource
import signal
import socket
import subprocess
import sys
import time

import pytest

from diffusion_demo.training.process import send_command
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.status import read_status
from tests.training.events import latest_checkpoint, of_type, weights_of

RARE = ["--save-every", "100000", "--sample-every", "100000", "--num-train-timesteps", "100"]


@pytest.fixture
def pair(environment, digits, tiny, tmp_path):
    """Start the two processes of a run, as `accelerate launch` does; they are killed at the end of the test."""
    children = []

    def start(*arguments, run=tmp_path / "run", preexec=(None, None)):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "LOCAL_WORLD_SIZE": "2"}
        cpu = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        line = [sys.executable, "-m", "diffusion_demo", "train", "--run", str(run), *map(str, arguments)]
        line += ["--data", str(digits), *tiny, *RARE]
        for rank in ("0", "1"):
            children.append(
                subprocess.Popen(
                    line,
                    cwd=tmp_path,
                    env=environment | shared | cpu | {"RANK": rank, "LOCAL_RANK": rank},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    preexec_fn=preexec[int(rank)],
                )
            )
        return children[-2:]

    yield start
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


def ended(pair):
    """Return the exit codes and the errors of both processes, which must end by themselves."""
    errors = [child.communicate(timeout=120)[1] for child in pair]
    return [child.returncode for child in pair], errors


def wait_for(condition, pair, seconds=150):
    end = time.monotonic() + seconds
    while not condition():
        for child in pair:
            assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < end, "timed out"
        time.sleep(0.05)


def steps_of(run, kind):
    return [event["step"] for event in of_type(run.path, kind)]


def test_every_command_reaches_both_processes(pair, tmp_path):
    run = RunFolder(tmp_path / "run")
    both = pair("--max-minutes", 10)
    wait_for(lambda: steps_of(run, "step"), both)
    for command, kind in (("save_now", "saved"), ("sample_now", "preview")):
        before = len(steps_of(run, kind))
        send_command(run, command)
        wait_for(lambda kind=kind, before=before: len(steps_of(run, kind)) > before, both)
    send_command(run, "stop")
    codes, errors = ended(both)
    assert codes == [0, 0], errors
    (finished,) = of_type(run.path, "finished")
    assert finished["reason"] == "stopped" and steps_of(run, "saved")[-1] == finished["step"]
    assert of_type(run.path, "start")[0]["processes"] == 2


def test_the_time_budget_ends_both_processes_at_the_same_step(pair, tmp_path):
    codes, errors = ended(pair("--max-minutes", 0.05))
    assert codes == [0, 0], errors
    (finished,) = of_type(tmp_path / "run", "finished")
    assert finished["reason"] == "max_minutes" and latest_checkpoint(tmp_path / "run").name.endswith(
        f"{finished['step']:06d}"
    )


def test_a_signal_to_either_process_ends_both_and_all_is_saved(pair, tmp_path):
    run = RunFolder(tmp_path / "run")
    both = pair("--max-minutes", 10)
    wait_for(lambda: steps_of(run, "step"), both)
    both[1].send_signal(signal.SIGTERM)
    codes, errors = ended(both)
    assert codes == [0, 0], errors
    (finished,) = of_type(run.path, "finished")
    assert finished["reason"] == "stopped" and steps_of(run, "saved")[-1] == finished["step"]


def test_when_one_process_dies_the_main_one_saves_and_says_so(pair, tmp_path):
    run = RunFolder(tmp_path / "run")
    both = pair("--max-minutes", 10)
    wait_for(lambda: steps_of(run, "step"), both)
    both[1].kill()
    codes, errors = ended(both)
    assert codes[0] == 1 and "Traceback" not in errors[0], errors[0]
    (failed,) = of_type(run.path, "failed")
    told = "Another process of this run has exited. Resume the run with all processes. "
    assert failed["message"].startswith(told) and "saved; --resume continues from there" in failed["message"]
    assert latest_checkpoint(run).name == f"step_{failed['step']:06d}"


def test_when_the_main_process_dies_the_other_ends_and_the_last_checkpoint_is_whole(pair, tmp_path):
    run = RunFolder(tmp_path / "run")
    both = pair("--max-minutes", 10)
    wait_for(lambda: steps_of(run, "step"), both)
    send_command(run, "save_now")
    wait_for(lambda: steps_of(run, "saved"), both)
    both[0].kill()
    codes, errors = ended(both)
    assert codes == [-signal.SIGKILL, 2], errors[1]
    assert errors[1].splitlines()[-1].startswith("Another process of this run has exited. Resume the run with all")
    assert "Traceback" not in errors[1]
    assert read_status(run).state == "interrupted"
    (saved,) = steps_of(run, "saved")
    assert latest_checkpoint(run).name == f"step_{saved:06d}" and weights_of(latest_checkpoint(run))


def test_a_checkpoint_that_the_main_process_cannot_write_ends_both(pair, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    codes, errors = ended(pair("--max-steps", 2, preexec=(limit, None)))
    assert 0 not in codes, errors
    (failed,) = of_type(tmp_path / "run", "failed")
    assert failed["message"].startswith("The disk is full") and "The 2 steps are lost" in failed["message"]


def test_a_run_that_only_the_main_process_finds_locked_is_refused_by_both(pair, tmp_path):
    run = RunFolder(tmp_path / "run")
    with run.lock():
        codes, errors = ended(pair("--max-steps", 2))
    assert codes == [2, 2], errors
    assert "Another process is training" in errors[0] and "Another process of this run failed" in errors[1]
