"""Overhead of training compared with bare optimizer steps and with other training loops.

All use the same network, images, batch size and machine, in one process.

bare: forward, hybrid loss, backward and AdamW on one prepared batch, with the precision and memory layout of ours.
ours: the trainer including batches, EMA, gradient clipping, reports and the run folder, without previews and saves. It
decodes the images once at the start, which is not measured here; see training_start.py. The loops in training_peers.py
decode every image each time.
"""

import tempfile
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import torch

from benchmarks.measuring import Row, in_turns, pace, ratio
from benchmarks.training_peers import BATCH, Files, by_ddp, by_diffusers, network
from diffusion_demo.data.synthetic_shapes import write_synthetic
from diffusion_demo.diffusion.losses import training_losses
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.models.unet import as_denoiser
from diffusion_demo.runtime.device import best_device, resolve_precision
from diffusion_demo.training import events
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.loop import FIRST_PREVIEW, REPORT_EVERY, Budget, train
from diffusion_demo.training.run_folder import RunFolder

NEVER = 10_000_000
IMAGES_PER_SHAPE = 300  # more than all rounds use, so that no data loader restarts its workers


def bare(unet: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Yield after each bare optimizer step."""
    chain = Diffusion(named_betas("squaredcos_cap_v2", 1000), variance_type="learned_range")
    denoiser = as_denoiser(unet, resolve_precision("auto", best_device()))
    x0, eps = torch.randn(2, BATCH, 3, 32, 32, device=best_device())
    t = torch.randint(1000, (BATCH,))
    xt = chain.q_sample(x0, t, eps)
    while True:
        training_losses(chain, denoiser(xt, chain.model_timesteps(t, xt)), x0, xt, t, eps).loss.mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        yield


def ours(folder: Path, images: Path) -> Iterator[None]:
    """Yield once per step of the trainer, which reports every REPORT_EVERY steps."""
    config = TrainConfig(data=str(images), batch_size=BATCH, save_every=NEVER, sample_every=NEVER)
    for event in train(config, RunFolder(folder), Budget(max_steps=NEVER), resume=False, command=""):
        if isinstance(event, events.Step) and event.step % REPORT_EVERY == 0:
            yield from [None] * REPORT_EVERY


def some_steps(steps: Iterator[None]) -> None:
    """Run REPORT_EVERY steps, the reporting interval of the trainer.

    Raises RuntimeError if the loop ends early: the trainer handles Ctrl-C and would otherwise look finished.
    """
    if len(list(islice(steps, REPORT_EVERY))) < REPORT_EVERY:
        raise RuntimeError("The training loop was interrupted, so there is nothing to measure.")


def has_ddp() -> bool:
    """Return whether denoising-diffusion-pytorch is installed."""
    return find_spec("denoising_diffusion_pytorch") is not None


def training_loops(run: Path, images: Path, precision: str) -> dict[str, Iterator[None]]:
    """Return the training loops by name: bare, ours, then the others with their defaults and with our settings."""
    unet, files = network(channels_last=True), Files(images)
    loops = {"bare": bare(unet, torch.optim.AdamW(unet.parameters(), lr=5e-4)), "ours": ours(run, images)}
    peers = {"diffusers' example": by_diffusers} | ({"denoising-diffusion-pytorch": by_ddp} if has_ddp() else {})
    for name, peer in peers.items():
        loops |= {
            f"{name} {words}": peer(network(as_ours), files, as_ours)
            for words, as_ours in (("with its defaults, fp32", False), (f"channels_last, {precision}", True))
        }
    return loops


def rows(rounds: int) -> Iterator[Row]:
    count, best = REPORT_EVERY * BATCH, resolve_precision("auto", best_device())
    with tempfile.TemporaryDirectory() as folder:
        write_synthetic(images := Path(folder) / "shapes", IMAGES_PER_SHAPE)
        loops = training_loops(Path(folder) / "run", images, best)
        for _ in range(FIRST_PREVIEW // REPORT_EVERY):  # the first preview then falls into the warm-up round
            some_steps(loops["ours"])
        times = in_turns({name: partial(some_steps, steps) for name, steps in loops.items()}, 1 + rounds // 2)
        for steps in loops.values():
            steps.close()
    what, here = f"training at 32 pixels, batch {BATCH}, {best}", f"{pace(times, 'ours', count):.1f} images/s"
    yield Row(
        what,
        here,
        f"bare optimizer steps: {pace(times, 'bare', count):.1f} images/s",
        f"{ratio(times, 'ours', 'bare')} times the time",
    )
    for name in list(loops)[2:]:
        yield Row(
            what,
            here,
            f"{name}: {pace(times, name, count):.1f} images/s",
            f"{ratio(times, name, 'ours')} times as fast",
        )
    if not has_ddp():
        yield Row(what, here, "denoising-diffusion-pytorch: not installed")
