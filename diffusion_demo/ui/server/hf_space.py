"""Support for Hugging Face Spaces: ZeroGPU lends its GPU to decorated functions, and storage is not persistent."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import ORACLES
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.server.gpu_cost import BASE_PARAMETERS, GpuWork
from diffusion_demo.ui.server.quota_errors import quota_errors_as_sentences

if TYPE_CHECKING:
    from diffusion_demo.diffusion.samplers import Step
    from diffusion_demo.models.checkpoint import Checkpoint

ON_ZERO_GPU = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
if ON_ZERO_GPU:
    # It must be imported before torch, because it replaces CUDA. Other Spaces have it as well, but do not need it.
    import spaces  # pyright: ignore[reportMissingImports]
else:
    spaces = None

NOTHING_LASTS = (
    "Runs on this Space are deleted when it restarts. Use Export in the list of runs to keep yours. "
    "(If you own it, mount a storage bucket and set DIFFUSION_DEMO_RUNS to its path.)"
)
# Models on the GPU, by folder. ZeroGPU moves them there once at start, and each call inherits them.
_placed: "dict[Path, Checkpoint]" = {}


def place(folders: Iterable[Path]) -> None:
    """Load the models in these folders for the GPU of ZeroGPU; elsewhere do nothing.

    To be called before the page is launched, which is when ZeroGPU packs what lies on "cuda". A damaged model is left
    out, and reported when it is used.
    """
    if not ON_ZERO_GPU:
        return
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.runtime.device import best_device

    for folder in folders:
        with suppress(BadInput):
            if str(folder) not in ORACLES:
                _placed[folder] = load_checkpoint(folder, best_device())


def steps(
    sampler: "Callable[..., Iterator[Step]]", checkpoint: "Checkpoint", folder: Path, *arguments: Any
) -> "Iterator[Step]":
    """Return the steps of sampler(checkpoint, *arguments), such as `sample_batch` or `upsample`.

    On ZeroGPU they run in the process that has the GPU, with the model that was placed there, or else with the one in
    `folder`. Raises gr.Error, in one sentence if the visitor has no GPU time left.
    """
    if not ON_ZERO_GPU or str(folder) in ORACLES:  # a formula needs no GPU
        return sampler(checkpoint, *arguments)
    return _borrow_gpu(seconds_for(checkpoint, arguments), sampler, folder, *arguments)


def parameters_of(folder: Path) -> int:
    """Return the number of parameters of a placed model; that of a bundled model for any other folder."""
    placed = _placed.get(folder)
    return sum(p.numel() for p in placed.unet.parameters()) if placed else BASE_PARAMETERS


def seconds_for(checkpoint: "Checkpoint", arguments: Iterable[Any]) -> int:
    """Return the seconds of ZeroGPU to ask for. The Request or Variation among `arguments` has the settings."""
    settings: Any = next(one for one in arguments if hasattr(one, "num_images"))
    parameters = sum(p.numel() for p in checkpoint.unet.parameters())
    return GpuWork(
        images=settings.num_images,
        steps=settings.steps if isinstance(settings.steps, int) else len(checkpoint.diffusion),
        guided=settings.guidance_scale != 1,
        classifier=bool(getattr(settings, "classifier_scale", 0)),
        side=checkpoint.description.image_size,
        parameters=parameters,
    ).seconds


def _borrow_gpu(*arguments: Any) -> "Iterator[Step]":
    import torch

    with quota_errors_as_sentences():
        for step in _sample_on_gpu(*arguments):
            yield replace(step, xt=torch.from_numpy(step.xt), x0=torch.from_numpy(step.x0))


def _with_zero_gpu(function: Callable) -> Callable:
    """Decorate a function whose first argument is its duration in seconds to run on the GPU of ZeroGPU.

    ZeroGPU runs it in a child process: arguments and results are pickled, and changes of global state are lost.
    """
    return spaces.GPU(duration=lambda seconds, *_: seconds)(function) if spaces else function


@_with_zero_gpu
def _sample_on_gpu(seconds: int, sampler: Callable[..., Iterator], folder: Path, *arguments) -> Iterator:
    """Yield the steps of a sampler with the model of `folder`, with arrays in place of tensors. Raises gr.Error.

    A pickled tensor would be a file descriptor of this process, which is gone when the process ends.
    """
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.runtime.device import best_device

    with user_errors_as_toasts():
        checkpoint = _placed.get(folder) or load_checkpoint(folder, best_device())
        for step in sampler(checkpoint, *arguments):
            yield replace(step, xt=step.xt.cpu().numpy(), x0=step.x0.cpu().numpy())
