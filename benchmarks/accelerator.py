"""Effect of precision, memory layout, fused AdamW and torch.compile on a GPU, compared with the defaults.

The other benchmarks run on the GPU as well if there is one.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from benchmarks.measuring import BUNDLED, Row, in_turns, pace, ratio
from benchmarks.training_overhead import bare, some_steps
from benchmarks.training_peers import BATCH, network
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.unet import as_denoiser
from diffusion_demo.runtime.device import best_device
from diffusion_demo.training.loop import REPORT_EVERY

IMAGES, CALLS = 64, 20
SAMPLING_AS_USED = "bf16, channels_last"
SAMPLING = {  # precision, channels_last, compiled
    "fp32": ("fp32", False, False),
    "fp32, channels_last": ("fp32", True, False),
    "bf16": ("bf16", False, False),
    SAMPLING_AS_USED: ("bf16", True, False),
    "bf16, channels_last, compiled": ("bf16", True, True),
}
TRAINING_AS_USED = "AdamW, channels_last"
TRAINING = {  # channels_last, fused, compiled
    "AdamW": (False, False, False),
    TRAINING_AS_USED: (True, False, False),
    "fused AdamW, channels_last": (True, True, False),
    "fused AdamW, channels_last, compiled": (True, True, True),
}


@torch.no_grad()
def called(unet: nn.Module, precision: str) -> None:
    """Call the network CALLS times on a batch of IMAGES."""
    xt = torch.randn(
        IMAGES, unet.config.in_channels, unet.config.sample_size, unet.config.sample_size, device=best_device()
    )
    denoiser, t = as_denoiser(unet, precision), torch.full((IMAGES,), 500, device=best_device())
    for _ in range(CALLS):
        denoiser(xt, t, class_labels=torch.zeros_like(t))


def bundled_network(channels_last: bool, compiled: bool) -> nn.Module:
    unet = load_checkpoint(BUNDLED, best_device()).unet
    unet.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    if compiled:
        unet.compile()
    return unet


def training_steps(channels_last: bool, fused: bool, compiled: bool) -> Iterator[None]:
    unet = network(channels_last)
    if compiled:
        unet.compile()
    return bare(unet, torch.optim.AdamW(unet.parameters(), lr=5e-4, fused=fused))


def rows(rounds: int) -> Iterator[Row]:
    if best_device().type != "cuda":
        yield Row(
            "bf16, channels_last, fused AdamW and torch.compile on a GPU",
            "not measured: no GPU available",
        )
        return
    calls = {
        name: partial(called, bundled_network(layout, compiled), precision)
        for name, (precision, layout, compiled) in SAMPLING.items()
    }
    yield from against_used(calls, SAMPLING_AS_USED, f"network calls, batch {IMAGES}", IMAGES * CALLS, rounds)
    steps = {name: partial(some_steps, training_steps(*options)) for name, options in TRAINING.items()}
    yield from against_used(steps, TRAINING_AS_USED, f"optimizer steps, batch {BATCH}", BATCH * REPORT_EVERY, rounds)


def against_used(works: dict, used: str, what: str, count: int, rounds: int) -> Iterator[Row]:
    times = in_turns(works, rounds)
    for name in works:
        if name != used:
            baseline = f"default ({used}): {pace(times, used, count):.0f} images/s"
            yield Row(
                f"{what}: {name}",
                f"{pace(times, name, count):.0f} images/s",
                baseline,
                f"{ratio(times, used, name)} times as fast",
            )
