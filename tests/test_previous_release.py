"""What release 0.1.0 wrote still opens, resumes and samples, and the same request still gives the same image.

The fixtures are files that 0.1.0 wrote: a run, whose weights are too large for the repository, so that a run with the
same settings stands in for them, and samples of avatars-32 with the keys of its metadata that 0.1.0 knows.
"""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_demo.images import read_settings
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.training.run_folder import RunFolder
from tests.conftest import ROOT, TINY
from tests.training.events import events_of, weights_of

OLD = ROOT / "tests" / "fixtures" / "release_0_1_0"
SAME_SETTINGS = [
    "--prediction-type",
    "epsilon",
    "--snr-gamma",
    0,
    "--learning-rate",
    2e-3,
    "--num-train-timesteps",
    100,
]


@pytest.fixture
def old_run(command, digits, tmp_path):
    """A run folder whose every text file is 0.1.0's own."""
    common = ["--data", digits, *TINY, *SAME_SETTINGS, "--num-train-timesteps", 100]
    for name, steps in (("old", 4), ("straight", 6)):
        done = command("train", "--run", name, *common, "--max-steps", steps, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    shutil.copytree(OLD / "run", tmp_path / "old", dirs_exist_ok=True)
    return tmp_path / "old"


def test_a_run_of_the_previous_release_resumes_with_its_own_loss_and_to_the_bit(old_run, command, digits):
    assert "snr_gamma" not in (old_run / "config.json").read_text()
    done = command("train", "--run", old_run, "--resume", "--data", digits, "--max-steps", 6, cwd=old_run.parent)
    assert done.returncode == 0, done.stderr
    assert events_of(old_run)[-1]["type"] == "finished"
    ours, straight = (weights_of(old_run.parent / run / "checkpoints" / "step_000006") for run in ("old", "straight"))
    assert ours.keys() == straight.keys() and not [n for n in ours if not torch.equal(ours[n], straight[n])]


def test_a_checkpoint_of_the_previous_release_opens_and_is_sampled(old_run, command):
    latest = RunFolder(old_run).latest()
    assert latest is not None
    checkpoint = load_checkpoint(latest)
    assert checkpoint.description.class_names == ("one", "three", "two") and checkpoint.description.steps == 4
    done = command(
        "sample", "--checkpoint", old_run, "--num-images", 1, "--steps", 2, "--out", "out", cwd=old_run.parent
    )
    assert done.returncode == 0, done.stderr


def test_keys_of_the_previous_release_are_read():
    _, summary, _ = RunFolder(OLD / "run").read_config()
    metadata = load_metadata(OLD / "run" / "checkpoints" / "step_000004")
    for data in (summary, metadata.data):
        assert data is not None and data["images"] == data["grayscale"] == 60 and "pictures" not in data


@pytest.mark.parametrize(("folder", "options"), [("ddim", ["--sampler", "ddim"]), ("dpm", [])])
def test_unguided_samples_are_those_of_the_previous_release(command, tmp_path, folder, options):
    arguments = ["--checkpoint", ROOT / "checkpoints" / "avatars-32", "--num-images", 4, "--seed", 7, "--steps", 4]
    done = command("sample", *arguments, *options, "--precision", "fp32", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for old in sorted((OLD / folder).glob("*.png")):
        new = tmp_path / "out" / old.name
        assert read_settings(new) == read_settings(old)
        difference = np.abs(np.asarray(Image.open(new), int) - np.asarray(Image.open(old), int))
        assert difference.max() <= 2, "other CPUs round a little differently"
