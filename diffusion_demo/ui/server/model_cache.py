"""The models in memory: at most two, loaded once however many ask, anew when their folder changes, and dropped when nobody used one for long."""

import threading
import time
from functools import lru_cache
from pathlib import Path

import torch

from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import FILE, ORACLES
from diffusion_demo.runtime.device import best_device
from diffusion_demo.ui.server import hf_space

_one_at_a_time = threading.Lock()
_used = [0.0]


def device() -> torch.device:
    """Where this process's models live: on ZeroGPU on the CPU, as the GPU is lent to space.steps alone."""
    return torch.device("cpu") if hf_space.spaces else best_device()


def load(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, or the oracle, from memory where it is still the same. Raises BadInput when it cannot be had."""
    load_metadata(folder)
    with _one_at_a_time:
        _used[0] = time.monotonic()
        try:
            return _load(folder, 0 if str(folder) in ORACLES else (folder / FILE).stat().st_mtime_ns)
        except OSError as error:
            raise BadInput(
                f"The model in {folder.name} cannot be read ({error.strerror or error}); choose another."
            ) from error


@lru_cache(maxsize=2)
def _load(folder: Path, changed: int) -> Checkpoint:
    return load_checkpoint(folder, device())


def drop_idle(seconds: float) -> None:
    """Forget all models when none was asked for within so many seconds."""
    with _one_at_a_time:
        if time.monotonic() - _used[0] > seconds:
            _load.cache_clear()
