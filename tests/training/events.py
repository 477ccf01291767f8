"""What a finished or refused training process left: events, checkpoints and error messages."""

import subprocess
from pathlib import Path
from typing import Any

from diffusers.models.unets.unet_2d import UNet2DModel
from safetensors.torch import load_file
from torch import Tensor

from diffusion_demo.models.checkpoint import Checkpoint
from diffusion_demo.training.run_folder import RunFolder


def events_of(run: Path) -> list[dict]:
    return RunFolder(run).events()


def of_type(run: Path, kind: str) -> list[dict]:
    return [event for event in events_of(run) if event["type"] == kind]


def latest_checkpoint(run: RunFolder | Path) -> Path:
    """Return the latest checkpoint of a run, which must exist."""
    latest = (run if isinstance(run, RunFolder) else RunFolder(run)).latest()
    assert latest is not None
    return latest


def unet_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the config of a checkpoint's U-Net."""
    assert isinstance(checkpoint.unet, UNet2DModel)
    return checkpoint.unet.config


def weights_of(checkpoint: Path) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint folder by file and name."""
    return {
        f"{path.relative_to(checkpoint).as_posix()}:{name}": value
        for path in sorted(checkpoint.rglob("*.safetensors"))
        for name, value in load_file(path).items()
    }


def assert_refused(done: subprocess.CompletedProcess, *words: str) -> None:
    """Assert that a command failed with one line on stderr that contains `words`."""
    assert done.returncode == 2, (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].endswith(".") and all(word in lines[0] for word in words), done.stderr
