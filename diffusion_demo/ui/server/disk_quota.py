"""How much of the disk the runs and the images dropped for them may fill."""

from contextlib import suppress
from pathlib import Path

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.server import model_list
from diffusion_demo.ui.settings import settings


def used(folder: Path) -> int:
    """Bytes of all files in a folder; files that go away meanwhile do not count."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size if path.is_file() else 0
    return total


def check(more: int = 0) -> None:
    """Raise BadInput where the runs, with so many bytes more, would fill more than they may."""
    if used(model_list.RUNS) + more > settings().disk_gb * 1_000_000_000:
        raise BadInput(
            f"The runs fill the {settings().disk_gb} GB that this page may use; delete a run of yours, or come back later."
        )
