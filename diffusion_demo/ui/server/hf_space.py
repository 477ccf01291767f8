"""Support for Hugging Face Spaces: ZeroGPU lends its GPU to decorated functions, and storage is not persistent."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

try:
    # Installed on Spaces only. It must be imported before torch, because it replaces CUDA.
    import spaces  # pyright: ignore[reportMissingImports]
except ImportError:
    spaces = None

from diffusion_demo.ui.errors import user_errors_as_toasts

GPU_SECONDS = 60
NOTHING_LASTS = (
    "This Space keeps nothing: runs are gone when it restarts. Take yours along (All runs, Make a zip), "
    "or mount a storage bucket and name it in DIFFUSION_DEMO_RUNS."
)


def steps(sampler: Callable[..., Iterator], checkpoint, folder: Path, *arguments) -> Iterator:
    """Return the steps of sampler(checkpoint, *arguments), such as `sample_batch` or `upsample`.

    On ZeroGPU the checkpoint is loaded from `folder` in the process that has the GPU.
    """
    return _sample_on_gpu(sampler, folder, *arguments) if spaces else sampler(checkpoint, *arguments)


def _with_zero_gpu(function: Callable) -> Callable:
    """Decorate a function to run on the GPU of ZeroGPU; elsewhere return it unchanged.

    ZeroGPU runs it in a child process: arguments and results are pickled, and changes of global state are lost.
    """
    return spaces.GPU(duration=GPU_SECONDS)(function) if spaces else function


@_with_zero_gpu
def _sample_on_gpu(sampler: Callable[..., Iterator], folder: Path, *arguments) -> Iterator:
    """Yield the steps of a sampler with the checkpoint in `folder`, with tensors on the CPU. Raises gr.Error."""
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.runtime.device import best_device

    with user_errors_as_toasts():
        for step in sampler(load_checkpoint(folder, best_device()), *arguments):
            yield replace(step, xt=step.xt.cpu(), x0=step.x0.cpu())
