"""Two other training loops on our network, one step at a time, with their own data loading.

Each trains the network that it is given and, when it is closed, leaves its averaged weights in it.

diffusers' unconditional example: noise of its scheduler, mean squared error, gradient clipping, AdamW, and EMAModel in
every step; images are loaded in the same process.
denoising-diffusion-pytorch: GaussianDiffusion (v prediction, sigmoid schedule) and the steps of its Trainer: Adam,
gradient clipping, and ema-pytorch every 10 steps; images are loaded by one worker process per core.

Neither learns a variance. "as_ours" gives them our precision and memory layout. denoising-diffusion-pytorch is
optional:

    pip install --no-deps --target /tmp/ddp denoising-diffusion-pytorch einops ema-pytorch
    PYTHONPATH=/tmp/ddp python -m benchmarks training
"""

import os
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from diffusion_demo.models.unet import build_unet
from diffusion_demo.runtime.device import best_device, resolve_precision

BATCH = 32
DIFFUSERS_SCHEDULE = "squaredcos_cap_v2"


def network(channels_last: bool) -> UNet2DModel:
    unet = build_unet("small", 32, 3, learns_variance=True, num_classes=0)
    return unet.to(best_device(), memory_format=torch.channels_last if channels_last else torch.contiguous_format)


class Files(Dataset):
    """Images float32 [3, 32, 32] in [0, 1]: resized, cropped and flipped at random, as in both projects."""

    def __init__(self, folder: Path):
        self.paths = sorted(folder.rglob("*.png"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Tensor:
        with Image.open(self.paths[i]) as image:
            fitted = ImageOps.fit(image.convert("RGB"), (32, 32), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(fitted)).permute(2, 0, 1).contiguous().float() / 255
        return pixels.flip(2) if torch.rand(()) < 0.5 else pixels


def batches(files: Files, workers: int) -> Iterator[Tensor]:
    loader = DataLoader(files, BATCH, shuffle=True, drop_last=True, num_workers=workers)
    while True:
        yield from loader


def computing(as_ours: bool) -> torch.autocast:
    best = resolve_precision("auto", best_device())
    return torch.autocast(best_device().type, torch.bfloat16, enabled=as_ours and best == "bf16")


def by_diffusers(unet: UNet2DModel, files: Files, as_ours: bool) -> Iterator[None]:
    scheduler = DDPMScheduler(beta_schedule=DIFFUSERS_SCHEDULE)
    optimizer = torch.optim.AdamW(unet.train().parameters(), lr=1e-4)
    average = EMAModel(unet.parameters(), use_ema_warmup=True)
    try:
        yield from diffusers_steps(unet, scheduler, optimizer, average, batches(files, workers=0), as_ours)
    finally:
        average.copy_to(unet.parameters())


def diffusers_steps(
    unet: UNet2DModel,
    scheduler: DDPMScheduler,
    optimizer: torch.optim.Optimizer,
    average: EMAModel,
    loader: Iterator[Tensor],
    as_ours: bool,
) -> Iterator[None]:
    for images in loader:
        x0 = (2 * images - 1).to(best_device())
        eps, t = torch.randn_like(x0), torch.randint(1000, (BATCH,), device=best_device())
        with computing(as_ours):
            predicted = unet(scheduler.add_noise(x0, eps, t), t).sample[:, :3]
        loss = functional.mse_loss(predicted.float(), eps)
        loss.backward()
        nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.step(unet.parameters())
        loss.item()
        yield


def by_ddp(unet: UNet2DModel, files: Files, as_ours: bool) -> Iterator[None]:
    stand_in_for_torchvision()
    from denoising_diffusion_pytorch import GaussianDiffusion
    from ema_pytorch import EMA

    chain = GaussianDiffusion(DdpAdapter(unet), image_size=32).to(best_device()).train()
    optimizer = torch.optim.Adam(chain.parameters(), lr=1e-4, betas=(0.9, 0.99))
    average = EMA(chain, beta=0.995, update_every=10)
    try:
        yield from ddp_steps(chain, optimizer, average, batches(files, workers=os.cpu_count() or 1), as_ours)
    finally:
        unet.load_state_dict(average.ema_model.model.unet.state_dict())


def ddp_steps(
    chain: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module, loader: Iterator[Tensor], as_ours: bool
) -> Iterator[None]:
    for images in loader:
        with computing(as_ours):
            loss = chain(images.to(best_device()))
        loss.item()
        loss.backward()
        nn.utils.clip_grad_norm_(chain.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        yield


class DdpAdapter(nn.Module):
    """Our network with the interface of denoising-diffusion-pytorch, without the variance channels."""

    channels = out_dim = 3
    self_condition = random_or_learned_sinusoidal_cond = False

    def __init__(self, unet: UNet2DModel):
        super().__init__()
        self.unet = unet

    def forward(self, xt: Tensor, t: Tensor, x_self_cond: None) -> Tensor:
        return self.unet(xt, t).sample[:, :3]


def stand_in_for_torchvision() -> None:
    """Register an empty torchvision module if torchvision is not installed.

    denoising-diffusion-pytorch imports it only for its own data loader and image grids.
    """
    if find_spec("torchvision") is None:
        print(
            "torchvision is not installed; an empty module replaces it, since Files implements the transforms.",
            file=sys.stderr,
        )
        empty = ModuleType("torchvision")
        empty.__spec__ = ModuleSpec("torchvision", None)
        empty.transforms = empty.utils = empty
        sys.modules["torchvision"] = empty
