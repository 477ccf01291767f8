"""The models in memory: at most two, loaded anew when their folder changes."""

from functools import lru_cache
from pathlib import Path

from diffusion_demo.machine import best_device
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.models.description import FILE, ORACLES, describe


def load(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, or the oracle, from memory where it is still the same. Raises BadInput when it cannot be had."""
    describe(folder)
    return _load(folder, 0 if str(folder) in ORACLES else (folder / FILE).stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _load(folder: Path, changed: int) -> Checkpoint:
    return load_checkpoint(folder, best_device())
