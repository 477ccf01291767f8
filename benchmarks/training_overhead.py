"""What training costs besides the optimizer step, and against a plain loop: the same network, pictures, batch and machine, in one process.

    python -m benchmarks.training_overhead

bare: forward, hybrid loss, backward and AdamW on one batch that lies ready, at the precision and memory layout that ours takes.
ours: the trainer, with everything that it does beside (drawing batches, averages, clipping, reports, the run folder), but for previews and saves.
plain: a loop after diffusers' unconditional example: float32, its scheduler's noise, mean squared error, clipping, AdamW, averages.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel
from torch.nn import functional
from torch.utils.data import DataLoader

from diffusion_demo import data
from diffusion_demo.data.drawn import write_drawn
from diffusion_demo.diffusion.losses import training_losses
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.images import to_float
from diffusion_demo.machine import best_device, resolve_precision
from diffusion_demo.models.unet import as_denoiser, build_unet
from diffusion_demo.training import events
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.loop import REPORT_EVERY, Budget, train
from diffusion_demo.training.run import RunFolder

BATCH, ROUNDS, NEVER = 32, 7, 10_000_000


def network():
    return build_unet("small", 32, 3, learns_variance=True, num_classes=0).to(best_device())


def bare() -> Iterator[None]:
    """One step at a time, as fast as the network goes."""
    unet = network().to(memory_format=torch.channels_last)
    chain = Diffusion(named_betas("squaredcos_cap_v2", 1000), variance_type="learned_range")
    denoiser = as_denoiser(unet, resolve_precision("auto", best_device()))
    optimizer = torch.optim.AdamW(unet.parameters(), lr=5e-4)
    x0, eps = torch.randn(2, BATCH, 3, 32, 32, device=best_device())
    t = torch.randint(1000, (BATCH,))
    xt = chain.q_sample(x0, t, eps)
    while True:
        training_losses(chain, denoiser(xt, chain.told(t, xt)), x0, xt, t, eps).loss.mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        yield


def ours(folder: Path, pictures: Path) -> Iterator[None]:
    """The trainer, a step at a time: it reports every few."""
    config = TrainConfig(str(pictures), save_every=NEVER, sample_every=NEVER)
    for event in train(config, RunFolder(folder), Budget(max_steps=NEVER), resume=False, command=""):
        if isinstance(event, events.Step) and event.step % REPORT_EVERY == 0:
            yield from [None] * REPORT_EVERY


def plain(pictures: Path) -> Iterator[None]:
    """One step at a time, as diffusers' example would."""
    unet, scheduler = network(), DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    optimizer, average = torch.optim.AdamW(unet.parameters(), lr=5e-4), EMAModel(unet.parameters(), use_ema_warmup=True)
    images = to_float(data.load(data.scan(pictures), 32, 3, held_out=False).images)
    for x0 in cycle(DataLoader(images, BATCH, shuffle=True, drop_last=True)):
        x0 = x0.to(best_device())
        eps, t = torch.randn_like(x0), torch.randint(1000, (BATCH,), device=best_device())
        loss = functional.mse_loss(unet(scheduler.add_noise(x0, eps, t), t).sample[:, :3], eps)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.step(unet.parameters())
        loss.item()
        yield


def seconds(steps: Iterator[None]) -> float:
    """The time of one step, over as many as the trainer reports at once."""
    begun = time.perf_counter()
    for _ in range(REPORT_EVERY):
        next(steps)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - begun) / REPORT_EVERY


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_drawn(pictures := Path(folder) / "shapes")
        loops = {"bare": bare(), "ours": ours(Path(folder) / "run", pictures), "plain": plain(pictures)}
        for _ in range(5):  # past the first preview, which belongs to no step
            for steps in loops.values():
                seconds(steps)
        rounds = [{name: seconds(steps) for name, steps in loops.items()} for _ in range(ROUNDS)]
        loops["ours"].close()
    pace = {name: BATCH / statistics.median(times[name] for times in rounds) for name in loops}
    cost, gain = (statistics.median(times[a] / times[b] for times in rounds) for a, b in (("ours", "bare"), ("plain", "ours")))
    device, precision = best_device(), resolve_precision("auto", best_device())
    print(f"device {device}, precision {precision}, torch {torch.__version__}; images/s: {', '.join(f'{n} {p:.1f}' for n, p in pace.items())}")
    print(f"ours costs {cost:.3f} times bare steps, and is {gain:.2f} times as fast as the plain loop (medians of {ROUNDS} rounds)")


if __name__ == "__main__":
    main()
