"""Sampling compared with the pipelines of diffusers: same weights, steps and batch size, up to PIL images.

The pipelines do not support classes, so both sides load the folder written by `diffusion_demo export`. DDIMPipeline
does not support learned variances, so it gets the network without those channels. "default" is a pipeline as returned
by from_pretrained, in float32. The default settings of this project are also compared with 1000-step DDPM sampling.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, UNet2DModel
from diffusers.utils.logging import disable_progress_bar

from benchmarks.measuring import BUNDLED, Row, Times, in_turns, pace, ratio
from diffusion_demo.images import to_pil, to_uint8
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.models.export import export
from diffusion_demo.runtime.device import best_device, resolve_precision
from diffusion_demo.sampling.generate import last_step, sample
from diffusion_demo.sampling.request import Request

IMAGES, STEPS, WHOLE_CHAIN = 16, 20, 1000
PEERS = {"ddim": "DDIMPipeline", "ddpm": "DDPMPipeline"}
Pipeline = DDIMPipeline | DDPMPipeline


def ours(checkpoint: Checkpoint, request: Request) -> list:
    """Return the images of the request as PIL images."""
    return [to_pil(pixels) for pixels in to_uint8(last_step(sample(checkpoint, request)).xt)]


def theirs(pipeline: Pipeline, precision: str) -> list:
    """Return the output of the pipeline, PIL images."""
    with torch.autocast(best_device().type, torch.bfloat16, enabled=precision == "bf16"):
        return pipeline(batch_size=IMAGES, num_inference_steps=STEPS).images


def pipeline_of(plain: Path, sampler: str, memory_format: torch.memory_format) -> Pipeline:
    pipeline = DDPMPipeline.from_pretrained(plain)
    if sampler == "ddim":
        pipeline = DDIMPipeline(without_variance(pipeline.unet), DDIMScheduler.from_config(pipeline.scheduler.config))
    pipeline.to(best_device()).set_progress_bar_config(disable=True)
    pipeline.unet.to(memory_format=memory_format)
    return pipeline


def without_variance(unet: UNet2DModel) -> UNet2DModel:
    """Return the same network with only the first half of its output channels."""
    channels, weights = unet.config.in_channels, unet.state_dict()
    weights |= {name: weights[name][:channels] for name in ("conv_out.weight", "conv_out.bias")}
    smaller = UNet2DModel.from_config(dict(unet.config) | {"out_channels": channels})
    smaller.load_state_dict(weights)
    return smaller.eval()


def rows(rounds: int) -> Iterator[Row]:
    disable_progress_bar()
    best = resolve_precision("auto", best_device())
    precisions = sorted({best, "fp32"})
    bundled = load_checkpoint(BUNDLED, best_device())
    with tempfile.TemporaryDirectory() as folder:
        export(bundled, BUNDLED.name, plain := Path(folder) / "plain")
        same = load_checkpoint(plain, best_device())
        for sampler in PEERS:
            default, faster = (
                pipeline_of(plain, sampler, layout) for layout in (torch.contiguous_format, torch.channels_last)
            )
            works = {
                f"ours {p}": partial(ours, same, Request(IMAGES, sampler, STEPS, eta=0.0, precision=p))
                for p in precisions
            }
            works |= {"default": partial(theirs, default, "fp32")}
            works |= {f"channels_last {p}": partial(theirs, faster, p) for p in precisions}
            if sampler == "ddpm":
                works |= defaults(bundled)
            times = in_turns(works, rounds)
            yield compared(times, sampler, best, "default", "default")
            for precision in precisions:
                words = f"with channels_last, both {precision}"
                yield compared(times, sampler, precision, f"channels_last {precision}", words)
        factor = WHOLE_CHAIN // STEPS
        times["whole"] = [factor * t for t in times["default"]]
        for name in defaults(bundled):
            yield Row(
                f"{IMAGES} images at the default settings ({name})",
                f"{median(times[name]):.2f} s",
                f"DDPMPipeline, {WHOLE_CHAIN} steps ({STEPS} measured, times {factor}): {median(times['whole']):.1f} s",
                f"{ratio(times, 'whole', name)} times as fast",
            )


def defaults(checkpoint: Checkpoint) -> dict[str, Callable[[], list]]:
    """Return the default settings of the command line (no guidance) and of the page (guided)."""
    settings = f"{Request.sampler}, {Request.steps} steps"
    plain, guided = Request(IMAGES), Request(IMAGES, guidance_scale=2.0)
    return {
        f"{settings}, {words}": partial(ours, checkpoint, r)
        for words, r in (("no guidance", plain), ("guided", guided))
    }


def compared(times: Times, sampler: str, precision: str, peer: str, words: str) -> Row:
    mine = f"ours {precision}"
    return Row(
        f"{IMAGES} images in {STEPS} steps of {sampler}, {precision}",
        f"{pace(times, mine, IMAGES):.1f} images/s",
        f"{PEERS[sampler]} {words}: {pace(times, peer, IMAGES):.1f} images/s",
        f"{ratio(times, peer, mine)} times as fast",
    )
