"""What sampling costs besides the network: the default images and steps against as many bare network calls, without guidance and with it.

The bare calls once with the rows cut for the cores, as sampling cuts them, and once with all rows in every call, as anybody would make them.
"""

from collections.abc import Iterator
from functools import partial
from statistics import median

import torch

from benchmarks.measuring import BUNDLED, Row, in_turns, ratio
from diffusion_demo.images import to_uint8
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.models.unet import as_denoiser
from diffusion_demo.runtime.device import best_device, resolve_precision
from diffusion_demo.runtime.parallel import parallel_map, split_rows
from diffusion_demo.sampling.generate import last_step, sample
from diffusion_demo.sampling.request import Request

IMAGES, STEPS = Request.num_images, Request.steps


@torch.no_grad()
def bare(checkpoint: Checkpoint, rows: int) -> None:
    """The network alone, STEPS times on a batch of so many rows."""
    unet, about = checkpoint.unet, checkpoint.description
    denoiser = as_denoiser(unet, resolve_precision("auto", unet.device))
    xt = torch.randn(rows, about.channels, about.image_size, about.image_size, device=unet.device)
    labels = torch.zeros(rows, dtype=torch.int64, device=unet.device)
    for t in torch.linspace(999, 0, STEPS, dtype=torch.int64).tolist():
        denoiser(xt, torch.full((rows,), t, device=unet.device), class_labels=labels)


def bare_on_cores(checkpoint: Checkpoint, rows: int) -> None:
    parallel_map(lambda cut: bare(checkpoint, cut.stop - cut.start), split_rows(rows, checkpoint.unet))


def sampled(checkpoint: Checkpoint, request: Request) -> None:
    """As a person gets them: 8-bit images in memory."""
    to_uint8(last_step(sample(checkpoint, request)).xt)


def rows(rounds: int) -> Iterator[Row]:
    checkpoint = load_checkpoint(BUNDLED, best_device())
    # guidance asks the network twice a step: with the class and without it, in one batch
    for scale, halves, words in ((1.0, 1, "without guidance"), (2.0, 2, "guided")):
        request = Request(num_images=IMAGES, steps=STEPS, guidance_scale=scale)
        rows = halves * IMAGES
        works = {f"cut for the cores, {rows} rows in all": bare_on_cores, f"on {rows} rows": bare}
        works = {name: partial(work, checkpoint, rows) for name, work in works.items()}
        times = in_turns(works | {"ours": partial(sampled, checkpoint, request)}, rounds)
        for name in works:
            yield Row(
                f"sampling {IMAGES} images in {STEPS} steps, {words}",
                f"{median(times['ours']):.2f} s",
                f"{STEPS} bare network calls {name}: {median(times[name]):.2f} s",
                f"{ratio(times, 'ours', name)} times the time",
            )
