"""Cache of loaded models: at most two, reloaded when their folder changes, unloaded when idle."""

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

_load_lock = threading.Lock()  # concurrent requests for a model load it once
_last_use = 0.0  # of any model, by time.monotonic()


def device() -> torch.device:
    """Return the device of this process's models: the CPU on ZeroGPU, where only hf_space.steps has the GPU."""
    return torch.device("cpu") if hf_space.ON_ZERO_GPU else best_device()


def load(folder: Path) -> Checkpoint:
    """Return the checkpoint in `folder` or the oracle of that name, cached. Raises BadInput if it cannot be loaded."""
    global _last_use
    load_metadata(folder)
    with _load_lock:
        _last_use = time.monotonic()
        try:
            return _load(folder, 0 if str(folder) in ORACLES else (folder / FILE).stat().st_mtime_ns)
        except OSError as error:
            reason = error.strerror or error
            raise BadInput(f"Cannot read the model in {folder.name} ({reason}). Choose another model.") from error


@lru_cache(maxsize=2)
def _load(folder: Path, modified_ns: int) -> Checkpoint:
    return load_checkpoint(folder, device())


def unload_if_idle(seconds: float) -> None:
    """Unload all models if none was used within the last `seconds`."""
    with _load_lock:
        if time.monotonic() - _last_use > seconds:
            _load.cache_clear()
