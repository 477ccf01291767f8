"""A file that the user may not read is named as such, and is not called damaged or missing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.training_utils import EMAModel

from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.state import load_state
from tests.conftest import not_as_root


def readable_copy(folder: Path, copy: Path) -> Path:
    shutil.copytree(folder, copy)
    for path in copy.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def messages_without_each(files: list[Path], read: Callable[[], object]) -> dict[Path, str | None]:
    """Return the message of BadInput for each file that may not be read; None where `read` does without it."""
    messages: dict[Path, str | None] = {}
    for file in files:
        file.chmod(0)
        try:
            with not_as_root():
                read()
            messages[file] = None
        except BadInput as error:
            messages[file] = str(error)
        finally:
            file.chmod(0o644)
    return messages


def check_messages(messages: dict[Path, str | None], count: int) -> None:
    needed = {file: message for file, message in messages.items() if message is not None}
    assert len(needed) == count
    for file, message in needed.items():
        assert message == f"Cannot read {file} (Permission denied). Change its permissions."


@pytest.mark.parametrize(("kind", "count"), [("random_checkpoint", 4), ("ddpm", 4)])
def test_a_checkpoint_with_a_file_that_may_not_be_read(kind, count, open_folder, request):
    folder = readable_copy(request.getfixturevalue(kind), open_folder / "model")
    load_checkpoint(folder)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    check_messages(messages_without_each(files, lambda: load_checkpoint(folder)), count)


def test_a_run_with_a_file_that_may_not_be_read_is_neither_to_be_removed_nor_started_anew(open_folder, trained_run):
    run = RunFolder(readable_copy(trained_run, open_folder / "run"))
    latest = run.latest()
    assert latest is not None
    config = run.read_config()[0]

    def load() -> None:
        run.read_config()
        start = load_checkpoint(latest)
        optimizer = torch.optim.AdamW(start.unet.parameters())
        averages = {decay: EMAModel(start.unet.parameters()) for decay in config.ema_decays}
        load_state(latest / "state", start.unet, optimizer, averages, None)

    load()
    check_messages(messages_without_each([run.config_file, *sorted((latest / "state").iterdir())], load), 5)
