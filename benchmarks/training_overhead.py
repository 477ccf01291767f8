"""Training against bare optimizer steps and against other people's loops: the same network, images, batch and machine, in one process.

bare: forward, hybrid loss, backward and AdamW on one batch that lies ready, at the precision and memory layout that ours takes.
ours: the trainer with all that it does beside (drawing batches, averages, clipping, reports, the run folder), but for previews and saves. It decodes
the images once, at the start, which is no part of this; see training_start.py. The others (training_peers.py) decode each anew every time.
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
EACH = (
    300  # images of each of the four shapes: more than all rounds see, so that nobody's loader starts its workers again
)


def bare(unet: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """One step at a time, as fast as the network goes."""
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
    """The trainer, a step at a time: it reports every few."""
    config = TrainConfig(str(images), batch_size=BATCH, save_every=NEVER, sample_every=NEVER)
    for event in train(config, RunFolder(folder), Budget(max_steps=NEVER), resume=False, command=""):
        if isinstance(event, events.Step) and event.step % REPORT_EVERY == 0:
            yield from [None] * REPORT_EVERY


def some_steps(steps: Iterator[None]) -> None:
    """As many as the trainer reports at once. Raises RuntimeError when the loop ends: Ctrl-C goes to the trainer, which would end as if done."""
    if len(list(islice(steps, REPORT_EVERY))) < REPORT_EVERY:
        raise RuntimeError("the training loop was stopped, so there is nothing to measure")


def rows(rounds: int) -> Iterator[Row]:
    count, best = REPORT_EVERY * BATCH, resolve_precision("auto", best_device())
    with tempfile.TemporaryDirectory() as folder:
        write_synthetic(images := Path(folder) / "shapes", EACH)
        unet, files, installed = (
            network(channels_last=True),
            Files(images),
            find_spec("denoising_diffusion_pytorch") is not None,
        )
        loops = {
            "bare": bare(unet, torch.optim.AdamW(unet.parameters(), lr=5e-4)),
            "ours": ours(Path(folder) / "run", images),
        }
        peers = {"diffusers' example": by_diffusers} | ({"denoising-diffusion-pytorch": by_ddp} if installed else {})
        for name, peer in peers.items():
            loops |= {
                f"{name} {words}": peer(files, as_ours)
                for words, as_ours in (("as it comes, fp32", False), (f"channels_last, {best}", True))
            }
        for _ in range(
            FIRST_PREVIEW // REPORT_EVERY
        ):  # the preview belongs to no step, and comes in the round that is not counted
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
    if not installed:
        yield Row(what, here, "denoising-diffusion-pytorch: not installed")
