"""Overhead of sampling compared with the same number of bare network calls, with and without guidance.

The bare calls are measured twice: with the batch split across cores, as in sampling, and with the whole batch.
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
    """Call the network STEPS times on a batch of `rows` images."""
    unet, description = checkpoint.unet, checkpoint.description
    denoiser = as_denoiser(unet, resolve_precision("auto", unet.device))
    xt = torch.randn(rows, description.channels, description.image_size, description.image_size, device=unet.device)
    labels = torch.zeros(rows, dtype=torch.int64, device=unet.device)
    for t in torch.linspace(999, 0, STEPS, dtype=torch.int64).tolist():
        denoiser(xt, torch.full((rows,), t, device=unet.device), class_labels=labels)


def bare_on_cores(checkpoint: Checkpoint, rows: int) -> None:
    parallel_map(lambda part: bare(checkpoint, part.stop - part.start), split_rows(rows, checkpoint.unet))


def sampled(checkpoint: Checkpoint, request: Request) -> None:
    """Sample uint8 images in memory."""
    to_uint8(last_step(sample(checkpoint, request)).xt)


def rows(rounds: int) -> Iterator[Row]:
    checkpoint = load_checkpoint(BUNDLED, best_device())
    # Guidance calls the network with and without the class in each step, as one batch.
    for scale, halves, words in ((1.0, 1, "without guidance"), (2.0, 2, "guided")):
        request = Request(num_images=IMAGES, steps=STEPS, guidance_scale=scale)
        rows = halves * IMAGES
        works = {f"split across cores, batch {rows}": bare_on_cores, f"with batch {rows}": bare}
        works = {name: partial(work, checkpoint, rows) for name, work in works.items()}
        times = in_turns(works | {"ours": partial(sampled, checkpoint, request)}, rounds)
        for name in works:
            yield Row(
                f"sampling {IMAGES} images in {STEPS} steps, {words}",
                f"{median(times['ours']):.2f} s",
                f"{STEPS} bare network calls {name}: {median(times[name]):.2f} s",
                f"{ratio(times, 'ours', name)} times the time",
            )
