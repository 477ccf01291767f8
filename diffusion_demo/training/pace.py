"""How fast this machine trains: measured, not guessed."""

import statistics
import time

import torch

from diffusion_demo.diffusion.losses import training_losses
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.machine import best_device, resolve_precision
from diffusion_demo.models.unet import as_denoiser

STEPS = 4


def images_per_second(unet: torch.nn.Module, diffusion: Diffusion, batch_size: int) -> float:
    """Pictures that optimizer steps of this network take in a second: the median of a few, after one that does not count.

    The network's weights are changed: give it a copy.
    """
    device = best_device()
    unet = unet.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-6, foreach=True)
    denoiser = as_denoiser(unet, resolve_precision("auto", device))
    channels, size = unet.config.in_channels, unet.config.sample_size
    x0, eps = torch.zeros(batch_size, channels, size, size, device=device), torch.randn(batch_size, channels, size, size, device=device)
    t = torch.randint(len(diffusion), (batch_size,))
    classes = unet.config.num_class_embeds
    condition = {"class_labels": torch.zeros(batch_size, dtype=torch.int64, device=device)} if classes else {}
    seconds = []
    for _ in range(STEPS):
        begun = time.perf_counter()
        xt = diffusion.q_sample(x0, t, eps)
        training_losses(diffusion, denoiser(xt, diffusion.told(t, xt), **condition), x0, xt, t, eps).loss.mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return batch_size / statistics.median(seconds[1:])
