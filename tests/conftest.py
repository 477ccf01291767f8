"""Shared fixtures: images of digits, a small trained run, and checkpoints with random weights."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import diffusion_demo  # noqa: F401  before torch, because it sets how OpenMP threads wait

# isort: split
import pytest
import torch
from diffusers import DDPMPipeline
from hypothesis import settings
from PIL import Image
from sklearn.datasets import load_digits

from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.models.checkpoint import load_checkpoint, make_scheduler, save_checkpoint
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.models.model_card import model_card
from diffusion_demo.models.unet import build_unet
from diffusion_demo.runtime.parallel import initial_num_threads
from tests.forked_cli import run_command
from tests.models.ho import ho_network, ho_scheduler

settings.register_profile("untimed", deadline=None)  # a deadline would fail on a busy machine
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parents[1]
NOBODY = 65534  # user id
CLASSES = ("one", "three", "two")
TINY = [
    "--preset",
    "tiny",
    "--image-size",
    "16",
    "--channels",
    "1",
    "--batch-size",
    "8",
    "--precision",
    "fp32",
    "--warmup-steps",
    "2",
]


@contextmanager
def not_as_root() -> Iterator[None]:
    """Give up the permissions of root, who may read every file."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder():
    """Return an empty folder that every user may enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def environment():
    """Return the environment variables for running the package from its folder, offline."""
    return os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="session")
def command(environment):
    """Return a function that runs `diffusion-demo ...` in a process of its own."""
    return lambda *arguments, cwd: run_command([*map(str, arguments)], cwd, environment)


@pytest.fixture
def threads():
    """Return a function that sets the number of cores, as torch counts them; it is restored after the test."""
    before = torch.get_num_threads()

    def set_cores(count):
        torch.set_num_threads(count)
        initial_num_threads.cache_clear()
        assert initial_num_threads() == count

    yield set_cores
    set_cores(before)


@pytest.fixture(scope="session")
def tiny():
    """Return the options of a training run that takes seconds."""
    return TINY


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Return a folder of sixty digits of scikit-learn as 16x16 PNG files in three class folders."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    for name, digit in (("one", 1), ("two", 2), ("three", 3)):
        (folder / name).mkdir(parents=True)
        for i, pixels in enumerate(images[labels == digit][:20]):
            image = Image.fromarray((pixels * 255 / 16).round().astype("uint8"))
            image.resize((16, 16), Image.Resampling.BICUBIC).save(folder / name / f"{i:03d}.png")
    return folder


@pytest.fixture(scope="session")
def trained_run(digits, command, tiny, tmp_path_factory):
    """Return the run folder of 12 training steps, run with the command line."""
    folder = tmp_path_factory.mktemp("trained")
    options = [
        "--learning-rate",
        "2e-3",
        "--save-every",
        "6",
        "--sample-every",
        "12",
        "--max-steps",
        "12",
        "--num-train-timesteps",
        "100",
    ]
    done = command("train", "--data", digits, "--run", "run", *tiny, *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="session")
def trained_checkpoint(trained_run):
    return trained_run / "checkpoints" / "step_000012"


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory):
    """Return a checkpoint with three classes and random weights in every layer; a fresh network outputs only zeros."""
    torch.manual_seed(0)
    unet = build_unet("tiny", 16, 3, learns_variance=True, num_classes=len(CLASSES))
    for parameter in unet.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    diffusion = Diffusion(named_betas("squaredcos_cap_v2", 1000), "epsilon", "learned_range")
    metadata = CheckpointMetadata(16, 3, 1000, CLASSES, guidance=True, images_seen=640, steps=20, command="a test")
    folder = tmp_path_factory.mktemp("random") / "random"
    scheduler = make_scheduler("squaredcos_cap_v2", diffusion)
    save_checkpoint(folder, unet, scheduler, metadata, model_card(metadata, 1, None))
    return folder


@pytest.fixture(scope="session")
def checkpoint(random_checkpoint):
    return load_checkpoint(random_checkpoint)


@pytest.fixture(scope="session")
def ddpm(tmp_path_factory):
    """Return the folder of a tiny DDPMPipeline."""
    folder = tmp_path_factory.mktemp("models") / "ddpm"
    DDPMPipeline(unet=ho_network(), scheduler=ho_scheduler()).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(ddpm, tmp_path):
    """Return a copy of the folder `ddpm` that a test may change."""
    shutil.copytree(ddpm, tmp_path / "ddpm")
    return tmp_path / "ddpm"
