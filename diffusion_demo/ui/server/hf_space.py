"""What a Hugging Face Space asks for: its GPU is lent for one decorated call, and what is on its disk goes when it restarts."""

from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import spaces  # there alone, and before torch: it takes CUDA's place
except ImportError:
    spaces = None

GPU_SECONDS = 60
NOTHING_LASTS = (
    "This Space keeps nothing: runs are gone when it restarts. Take yours along (All runs, Make a zip), or mount a storage bucket and name it in "
    "DIFFUSION_DEMO_RUNS."
)


def steps(sampler: Callable, checkpoint, folder: Path, *arguments) -> Iterator:
    """sampler(checkpoint, *arguments), step by step: sampling.sample_batch, .upsample and their like. ZeroGPU loads from the checkpoint's folder."""
    return _with_the_gpu(sampler, folder, *arguments) if spaces else sampler(checkpoint, *arguments)


def _lent(function: Callable) -> Callable:
    """The function as it is or, on ZeroGPU, run in a child process that has the GPU: what goes in and out is pickled, what it sets is lost."""
    return spaces.GPU(duration=GPU_SECONDS)(function) if spaces else function


@_lent
def _with_the_gpu(sampler: Callable, folder: Path, *arguments) -> Iterator:
    """The sampler's steps with the checkpoint in `folder`, their tensors on the CPU. Raises a toast for what cannot be sampled."""
    from dataclasses import replace

    import gradio as gr

    from diffusion_demo.errors import BadInput
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.runtime.device import best_device

    try:
        for step in sampler(load_checkpoint(folder, best_device()), *arguments):
            yield replace(step, xt=step.xt.cpu(), x0=step.x0.cpu())
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error
