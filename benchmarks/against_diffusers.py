"""Sampling against diffusers' own pipelines with the same weights, steps and batch, to images of PIL; and the default against its 1000 steps.

The pipelines know no classes, so both sides open the plain folder that `diffusion_demo export` makes. DDIMPipeline cannot run a network that also
answers a variance: it is given the same one without those channels. "As it comes" is a pipeline as from_pretrained makes it, in float32.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
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
from diffusion_demo.sampling.presets import DEFAULT_ETA, default_guidance_interval
from diffusion_demo.sampling.request import Request

IMAGES, STEPS, WHOLE_CHAIN = 16, 20, 1000
PEERS = {"ddim": "DDIMPipeline", "ddpm": "DDPMPipeline"}
Pipeline = DDIMPipeline | DDPMPipeline


def ours(checkpoint: Checkpoint, request: Request) -> list:
    """The request's images, of PIL."""
    return [to_pil(pixels) for pixels in to_uint8(last_step(sample(checkpoint, request)).xt)]


def theirs(pipeline: Pipeline, precision: str) -> list:
    """The pipeline's images, of PIL: its own output."""
    with torch.autocast(best_device().type, torch.bfloat16, enabled=precision == "bf16"):
        return pipeline(batch_size=IMAGES, num_inference_steps=STEPS).images


def pipeline_of(plain: Path, sampler: str, memory_format: torch.memory_format) -> Pipeline:
    made = DDPMPipeline.from_pretrained(plain)
    if sampler == "ddim":
        made = DDIMPipeline(without_variance(made.unet), DDIMScheduler.from_config(made.scheduler.config))
    made.to(best_device()).set_progress_bar_config(disable=True)
    made.unet.to(memory_format=memory_format)
    return made


def without_variance(unet: UNet2DModel) -> UNet2DModel:
    """The same network, answering the first half of its output channels alone."""
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
            as_it_comes, faster = (
                pipeline_of(plain, sampler, layout) for layout in (torch.contiguous_format, torch.channels_last)
            )
            works = {f"ours {p}": partial(ours, same, Request(IMAGES, sampler, STEPS, precision=p)) for p in precisions}
            works |= {"as it comes": partial(theirs, as_it_comes, "fp32")}
            works |= {f"channels_last {p}": partial(theirs, faster, p) for p in precisions}
            if sampler == "ddpm":
                works |= defaults(bundled)
            times = in_turns(works, rounds)
            yield compared(times, sampler, best, "as it comes", "as it comes")
            for precision in precisions:
                yield compared(
                    times, sampler, precision, f"channels_last {precision}", f"given channels_last, both {precision}"
                )
        factor = WHOLE_CHAIN // STEPS
        times["whole"] = [factor * t for t in times["as it comes"]]
        for name in defaults(bundled):
            yield Row(
                f"{IMAGES} images at the default settings ({name})",
                f"{median(times[name]):.2f} s",
                f"DDPMPipeline in {WHOLE_CHAIN} steps ({STEPS} measured, times {factor}): {median(times['whole']):.1f} s",
                f"{ratio(times, 'whole', name)} times as fast",
            )


def defaults(checkpoint: Checkpoint) -> dict[str, Callable[[], list]]:
    """What a person gets who changes nothing: on the command line, and on the page, which guides."""
    about = f"{Request.sampler}, {Request.steps} steps"
    plain = Request(IMAGES, eta=DEFAULT_ETA[Request.sampler])
    guided = replace(plain, guidance_scale=2.0, guidance_interval=default_guidance_interval(len(checkpoint.diffusion)))
    return {
        f"{about}, {words}": partial(ours, checkpoint, r) for words, r in (("no guidance", plain), ("guided", guided))
    }


def compared(times: Times, sampler: str, precision: str, peer: str, words: str) -> Row:
    mine = f"ours {precision}"
    return Row(
        f"{IMAGES} images in {STEPS} steps of {sampler}, {precision}",
        f"{pace(times, mine, IMAGES):.1f} images/s",
        f"{PEERS[sampler]} {words}: {pace(times, peer, IMAGES):.1f} images/s",
        f"{ratio(times, peer, mine)} times as fast",
    )
