"""Measured training speed of this machine."""

import statistics
import time

import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from diffusion_demo.diffusion.losses import training_losses
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.models.unet import as_denoiser
from diffusion_demo.runtime.device import best_device, resolve_precision
from diffusion_demo.training.batches import Batch
from diffusion_demo.training.cpu.optimize import optimize_for_cpu
from diffusion_demo.training.cpu.parallel_backward import accumulate_gradient, training_slices

STEPS = 4  # the first one is a warm-up


def images_per_second(unet: torch.nn.Module, diffusion: Diffusion, batch_size: int) -> float:
    """Return the training speed of a network in images per second: the median of a few optimizer steps.

    Changes the weights of `unet`, so pass a copy.
    """
    assert isinstance(unet, UNet2DModel)
    device = best_device()
    unet.to(device, memory_format=torch.channels_last).train()  # pyright: ignore[reportArgumentType]  (diffusers' decorator hides self)
    if device.type == "cpu":
        optimize_for_cpu(unet)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-6, foreach=True)
    denoiser = as_denoiser(unet, resolve_precision("auto", device))
    channels, size, classes = (unet.config[name] for name in ("in_channels", "sample_size", "num_class_embeds"))
    x0, eps = torch.randn(2, batch_size, channels, size, size, device=device)
    labels, weights = torch.zeros(batch_size, dtype=torch.int64, device=device), torch.ones(batch_size, device=device)
    batch = Batch(x0, labels, torch.randint(len(diffusion), (batch_size,)), weights, eps)

    def losses(network: torch.nn.Module, part: Batch) -> torch.Tensor:
        xt = diffusion.q_sample(part.x0, part.t, part.eps)
        condition = {"class_labels": part.labels} if classes else {}
        output = denoiser(xt, diffusion.model_timesteps(part.t, xt), **condition)
        return training_losses(diffusion, output, part.x0, xt, part.t, part.eps).loss.unsqueeze(1)

    seconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        accumulate_gradient(unet, losses, batch, training_slices(batch_size, unet), seed=0)
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return batch_size / statistics.median(seconds[1:])
