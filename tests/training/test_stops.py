"""Stopped, killed and resumed training processes, and two processes in parallel."""

import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.training.run_folder import RunFolder
from tests.forked_cli import ForkedCommand
from tests.training.events import assert_refused, events_of, latest_checkpoint, of_type, weights_of

ENDLESS = ["--max-minutes", "10", "--save-every", "3", "--sample-every", "100000"]


@pytest.fixture
def background(environment):
    """Start a training process; it is killed at the end of the test if it is still running."""
    children = []

    def start(*arguments, cwd):
        children.append(ForkedCommand(["train", *map(str, arguments)], cwd, environment))
        return children[-1]

    yield start
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


def wait_for(condition, child, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert child.poll() is None, child.communicate()[1]
        assert time.monotonic() < end, "timed out"
        time.sleep(0.05)


LOSS_AWARE = [
    "--loss",
    "kl",
    "--timestep-sampler",
    "loss_aware",
    "--num-train-timesteps",
    2,
    "--prediction-type",
    "v_prediction",
]


@pytest.mark.parametrize(("options", "files"), [(["--dropout", 0.2], 4), (LOSS_AWARE, 5)], ids=["hybrid", "loss-aware"])
def test_a_resumed_run_ends_with_the_weights_of_one_that_never_stopped(command, digits, tiny, tmp_path, options, files):
    common = ["--data", digits, *tiny, "--save-every", 100, "--sample-every", 100, *options]
    for run, budgets in (("straight", [8]), ("halves", [4, 8])):
        for budget in budgets:
            done = command(
                "train",
                "--run",
                run,
                *common,
                "--max-steps",
                budget,
                *(["--resume"] if budget != budgets[0] else []),
                cwd=tmp_path,
            )
            assert done.returncode == 0, done.stderr
    straight, halves = (weights_of(tmp_path / run / "checkpoints" / "step_000008") for run in ("straight", "halves"))
    assert straight.keys() == halves.keys() and len({name.split(":")[0] for name in straight}) == files
    assert not [name for name in straight if not torch.equal(straight[name], halves[name])]
    starts = of_type(tmp_path / "halves", "start")
    assert [event["resumed_from"] for event in starts] == [0, 4]


def test_two_processes_draw_t_and_learn_as_one_does(command, environment, digits, tiny, tmp_path):
    common = ["--data", str(digits), *tiny, *map(str, LOSS_AWARE), "--dropout", "0", "--max-steps", "6"]
    done = command("train", "--run", "one", *common, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    here = ["--num_machines", "1", "--main_process_ip", "127.0.0.1", "--main_process_port", str(port)]
    plain = ["--mixed_precision", "no", "--dynamo_backend", "no"]
    launcher = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        *here,
        *plain,
    ]
    both = environment | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    line = [*launcher, "-m", "diffusion_demo", "train", "--run", "two", *common]
    done = subprocess.run(line, cwd=tmp_path, env=both, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert of_type(tmp_path / "two", "start")[0]["processes"] == 2
    for one, two in zip(*(of_type(tmp_path / run, "step") for run in ("one", "two")), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-3) and two["error"] == pytest.approx(
            one["error"], rel=1e-3
        )
    one, two = (weights_of(tmp_path / run / "checkpoints" / "step_000006") for run in ("one", "two"))
    assert torch.equal(one["state/timesteps.safetensors:counts"], two["state/timesteps.safetensors:counts"])
    for name in ("state/timesteps.safetensors:losses", "unet/diffusion_pytorch_model.safetensors:conv_in.weight"):
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-3)


def test_ctrl_c_saves_and_ends_well(background, digits, tiny, tmp_path):
    run = tmp_path / "run"
    child = background(
        "--data",
        digits,
        "--run",
        run,
        *tiny,
        "--max-minutes",
        10,
        "--save-every",
        100000,
        "--sample-every",
        100000,
        cwd=tmp_path,
    )
    wait_for(lambda: of_type(run, "step"), child)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) == 0
    finished = events_of(run)[-1]
    assert finished["type"] == "finished" and finished["reason"] == "stopped"
    assert latest_checkpoint(run).name == f"step_{finished['step']:06d}"
    assert load_checkpoint(latest_checkpoint(run)).description.steps == finished["step"]


def test_a_stop_in_control_jsonl_saves_and_ends_well_and_a_second_trainer_is_refused(
    background, command, digits, tiny, tmp_path
):
    run = tmp_path / "run"
    child = background("--data", digits, "--run", run, *tiny, *ENDLESS, cwd=tmp_path)
    wait_for(lambda: of_type(run, "saved"), child)
    assert_refused(command("train", "--run", run, "--resume", "--max-steps", 100000, cwd=tmp_path), "Another process")
    assert child.poll() is None and len(of_type(run, "start")) == 1
    with (run / "control.jsonl").open("a") as file:
        file.write('{"type":"stop"}\n')
    assert child.wait(timeout=60) == 0
    finished = events_of(run)[-1]
    assert finished["type"] == "finished" and latest_checkpoint(run).name == f"step_{finished['step']:06d}"
    # The stop command of the previous call is ignored.
    budget = finished["step"] + 2
    done = command("train", "--run", run, "--resume", "--max-steps", budget, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert events_of(run)[-1]["step"] == budget and events_of(run)[-1]["reason"] == "max_steps"


def test_a_killed_trainer_goes_on_from_its_last_whole_checkpoint(background, command, digits, tiny, tmp_path):
    run = tmp_path / "run"
    child = background("--data", digits, "--run", run, *tiny, *ENDLESS, cwd=tmp_path)
    wait_for(lambda: len(of_type(run, "saved")) >= 2, child)
    child.kill()
    child.wait()
    latest = latest_checkpoint(run)
    step = int(latest.name.removeprefix("step_"))
    # What a process leaves when it is killed during a write.
    half = run / "checkpoints" / f".step_{step + 3:06d}.partial"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    with (run / "events.jsonl").open("a") as file:
        file.write('{"type": "step", "st')
    done = command("train", "--run", run, "--resume", "--max-steps", step + 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = (run / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    starts = [event for event in events if event["type"] == "start"]
    assert [event["resumed_from"] for event in starts] == [0, step]
    assert events[-1]["type"] == "finished" and events[-1]["step"] == step + 3
    assert load_checkpoint(latest_checkpoint(run)).description.steps == step + 3
    assert not half.exists()


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_trainer_killed_at_random_instants_ends_with_the_weights_of_one_that_never_was(
    background, command, digits, tiny, tmp_path, kills
):
    steps, common = 12 * kills, ["--data", digits, *tiny, "--save-every", 2, "--sample-every", 30]
    done = command("train", "--run", "straight", *common, "--max-steps", steps, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run, chance = RunFolder(tmp_path / "killed"), random.Random(kills)
    for _ in range(kills):
        child = background(
            "--run", run.path, *common, "--max-steps", steps, *(["--resume"] if run.exists else []), cwd=tmp_path
        )
        before = len(run.events())
        wait_for(lambda before=before: len(run.events()) > before + 1, child)
        time.sleep(chance.uniform(0, 2))
        child.kill()
        child.wait()
        if (latest := run.latest()) is not None:
            assert load_checkpoint(latest).description.steps == int(latest.name.removeprefix("step_"))
    done = command("train", "--run", run.path, *common, "--max-steps", steps, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    straight, killed = (
        weights_of(tmp_path / name / "checkpoints" / f"step_{steps:06d}") for name in ("straight", "killed")
    )
    assert straight.keys() == killed.keys() and not [
        name for name in straight if not torch.equal(straight[name], killed[name])
    ]
    assert len([event for event in run.events() if event["type"] == "start"]) == kills + 1
