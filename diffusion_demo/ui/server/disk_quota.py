"""Disk quota for training runs and their uploaded images."""

import os
from contextlib import suppress
from pathlib import Path

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.server import model_list
from diffusion_demo.ui.settings import settings


def folder_size(folder: Path) -> int:
    """Return the total size of all files in a folder, in bytes. Files deleted during the scan are ignored."""
    total = 0
    for parent, _, names in os.walk(folder):  # unlike Path.rglob, it skips folders that no longer exist
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def check(additional_bytes: int = 0) -> None:
    """Raise BadInput if the runs plus `additional_bytes` would exceed the quota."""
    quota_gb = settings().disk_gb
    if folder_size(model_list.RUNS) + additional_bytes > quota_gb * 1_000_000_000:
        raise BadInput(f"The disk quota of {quota_gb} GB for runs is full. Delete a run or try again later.")
