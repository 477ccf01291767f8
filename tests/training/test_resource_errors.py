"""Out of memory and out of disk space, with real limits on the training process."""

import resource
import subprocess
import sys
import time

import pytest

from diffusion_demo.data.scan_cache import MIN_AGE_SECONDS
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.training.run_folder import RunFolder
from tests.training.events import assert_refused, latest_checkpoint


@pytest.fixture
def limited(environment, digits, tmp_path):
    """Train on the digits in a process with a limit, in bytes, on one resource."""

    def run(name, limit, *arguments):
        line = [
            sys.executable,
            "-m",
            "diffusion_demo",
            "train",
            "--data",
            str(digits),
            "--run",
            "run",
            *map(str, arguments),
        ]

        def set_limit():
            resource.setrlimit(name, (limit, limit))

        return subprocess.run(
            line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, preexec_fn=set_limit
        )

    return run


def assert_failed_without_traceback(done):
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr[-2000:]


def test_out_of_memory_says_which_knobs_to_turn(limited, tmp_path):
    small = [
        "--preset",
        "small",
        "--image-size",
        128,
        "--channels",
        1,
        "--batch-size",
        64,
        "--precision",
        "fp32",
        "--max-steps",
        2,
    ]
    assert_failed_without_traceback(limited(resource.RLIMIT_AS, 6_000_000_000, *small))
    failed = RunFolder(tmp_path / "run").events()[-1]
    assert failed["type"] == "failed" and failed["message"].startswith("Out of memory with batches of 64 at 128 pixels")
    assert "--accumulation 2 and --gradient-checkpointing" in failed["message"]


def test_a_full_disk_leaves_the_last_checkpoint_and_nothing_half_written(limited, tiny, command, digits, tmp_path):
    common = ["--data", digits, "--run", "run", *tiny, "--save-every", 2]
    assert command("train", *common, "--max-steps", 2, cwd=tmp_path).returncode == 0
    run = RunFolder(tmp_path / "run")
    assert_failed_without_traceback(limited(resource.RLIMIT_FSIZE, 1_000_000, *tiny, "--resume", "--max-steps", 8))
    failed = run.events()[-1]
    assert failed["type"] == "failed" and failed["step"] == 4 and failed["message"].startswith("The disk is full")
    assert "The steps after 2 are lost; --resume continues from there." in failed["message"]
    assert not list(run.path.rglob("*.partial")) and latest_checkpoint(run).name == "step_000002"
    assert load_checkpoint(latest_checkpoint(run)).description.steps == 2
    done = command("train", *common, "--resume", "--max-steps", 4, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert latest_checkpoint(run).name == "step_000004"


@pytest.mark.parametrize("limit", [500, 5000], ids=["config", "scan cache"])
def test_a_disk_without_room_for_the_start_is_refused_in_one_sentence_and_leaves_no_run(
    limited, tiny, digits, tmp_path, limit
):
    newest = max(path.stat().st_ctime for path in digits.rglob("*.png"))
    time.sleep(max(0.0, MIN_AGE_SECONDS + newest - time.time()))  # younger images are not in the scan cache
    done = limited(resource.RLIMIT_FSIZE, limit, *tiny, "--max-steps", 2)
    assert_refused(done, "The disk is full. Free some space, then try again. Training did not start.")
    assert not (tmp_path / "run").exists()
