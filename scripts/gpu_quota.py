"""Print the table of docs/deploying.md: what a generation costs on ZeroGPU, and how many a visitor has per day.

`python -m scripts.gpu_quota --count` counts the work of the bundled networks, on which diffusion_demo/ui/server/
gpu_cost.py rests.
"""

import sys
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.paths import bundled_checkpoint
from diffusion_demo.sampling.presets import PRESETS
from diffusion_demo.ui.server.gpu_cost import QUOTAS, GpuWork, charged

IMAGES = (1, 4, 16, 64)
PARAMETERS = 4_304_950  # of avatars-32
OPERATIONS, FLOPS = 500, 1.2e9  # of a network call, and per image of 32 pixels: bounds of what is counted


def table() -> str:
    """Return the table in Markdown, for guided images of avatars-32."""
    lines = [
        f"| images | quality | seconds requested | of the quota | {' | '.join(f'{who}, per day' for who in QUOTAS)} |",
        f"|{'---|' * (4 + len(QUOTAS))}",
    ]
    for images in IMAGES:
        for quality, (_, steps, _) in PRESETS.items():
            seconds = GpuWork(images, int(steps), True, False, 32, PARAMETERS).seconds
            cost = charged(seconds)
            counts = " | ".join(str(quota // cost) for quota in QUOTAS.values())
            lines.append(f"| {images} | {quality.capitalize()} ({steps} steps) | {seconds} | {cost} | {counts} |")
    return "\n".join(lines)


class _Operations(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def count_work(unet: nn.Module) -> tuple[int, int]:
    """Return the operations of torch in a network call, and the floating-point operations for one image."""
    config: Any = unet.config
    x, t = torch.zeros(1, config.in_channels, config.sample_size, config.sample_size), torch.zeros(1, dtype=torch.long)
    condition = {"class_labels": t} if config.num_class_embeds else {}
    with _Operations() as operations:
        unet(x, t, **condition)
    with FlopCounterMode(display=False) as flops:
        unet(x, t, **condition)
    return operations.count, flops.get_total_flops()


def main() -> None:
    """Print the table, or with --count the work of the networks."""
    if "--count" not in sys.argv:
        print(table())
        return
    for name in ("avatars-32", "avatars-64"):
        folder = bundled_checkpoint(name)
        assert folder is not None
        operations, flops = count_work(load_checkpoint(folder).unet)
        print(f"{name}: {operations} operations of torch a call, {flops / 1e9:.2f} GFLOP an image")


if __name__ == "__main__":
    main()
