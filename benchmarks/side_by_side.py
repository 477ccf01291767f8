"""Sample quality after equal training time: our trainer, diffusers' example and denoising-diffusion-pytorch.

    PYTHONPATH=/tmp/ddp python -m benchmarks.side_by_side TRAIN.zip TEST.zip WORK MINUTES [SEEDS]

The zips are those of scripts.avatars. All train the same network without classes on the same images, each with its own
loop, loss, schedule and learning rate (see training_peers), but all with our precision and memory layout. The minutes
begin with the first step; images are listed before, and each loop decodes them in its own way. Every network is sampled
by the same sampler (DDIM, 50 steps, seeds 0 to 999) with its averaged weights and its own schedule, and compared with
the test images in the features of the feature classifier. Trains only what is missing in WORK.
"""

import statistics
import sys
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from diffusers import UNet2DModel
from torch import Tensor

from benchmarks.avatar_quality import load_split
from benchmarks.training_overhead import NEVER
from benchmarks.training_peers import (
    BATCH,
    DIFFUSERS_SCHEDULE,
    Files,
    by_ddp,
    by_diffusers,
    network,
    stand_in_for_torchvision,
)
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.evaluation.feature_classifier import extract_features, load_feature_classifier
from diffusion_demo.evaluation.frechet import frechet_distance
from diffusion_demo.evaluation.precision_recall import precision_recall
from diffusion_demo.images import contact_sheet, save_png, to_uint8
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.runtime.device import best_device
from diffusion_demo.sampling.generate import last_step, sample_batch
from diffusion_demo.sampling.request import Request, image_specs
from diffusion_demo.training import events
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.loop import Budget, train
from diffusion_demo.training.run_folder import RunFolder

OURS, DIFFUSERS, DDP = "ours", "diffusers' example", "denoising-diffusion-pytorch"
IMAGES, AT_ONCE = 1000, 250
REQUEST = Request(num_images=IMAGES, sampler="ddim", steps=50, precision="fp32")


def write_flat(zipped: Path, folder: Path) -> None:
    """Extract the images of a zip into a single folder, so that they have no classes."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(zipped) as archive:
        for name in archive.namelist():
            if name.endswith(".png"):
                (folder / name.replace("/", "_")).write_bytes(archive.read(name))


def train_ours(images: Path, run: RunFolder, seed: int, minutes: float) -> tuple[Checkpoint, int]:
    """Train with our trainer for this many minutes. Return the checkpoint and the number of steps."""
    config = TrainConfig(data=str(images), batch_size=BATCH, save_every=NEVER, sample_every=NEVER, seed=seed)
    steps = [
        event.step
        for event in train(config, run, Budget(max_minutes=minutes), resume=False, command="benchmarks.side_by_side")
        if isinstance(event, events.Step)
    ]
    checkpoint = run.latest()
    assert checkpoint is not None, "the trainer saves at the end of its time"
    return load_checkpoint(checkpoint, best_device()), steps[-1]


def train_peer(loop: Iterator[None], unet: UNet2DModel, chain: Diffusion, minutes: float) -> tuple[Checkpoint, int]:
    """Train with another loop for this many minutes. Return the checkpoint and the number of steps."""
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < 60 * minutes:
        next(loop)
        steps += 1
    loop.close()
    return Checkpoint(unet.eval(), chain, CheckpointMetadata(32, 3, len(chain), ()), "custom"), steps


def chain_of(name: str) -> Diffusion:
    """Return the diffusion process that a peer trains on. The variance channels are neither trained nor used."""
    if name == DIFFUSERS:
        return Diffusion(named_betas(DIFFUSERS_SCHEDULE, 1000), "epsilon", "learned_range")
    stand_in_for_torchvision()
    from denoising_diffusion_pytorch.denoising_diffusion_pytorch import sigmoid_beta_schedule

    return Diffusion(sigmoid_beta_schedule(1000), "v_prediction", "learned_range")


def images_of(checkpoint: Checkpoint) -> Tensor:
    """Return IMAGES samples, uint8 [N, 3, 32, 32]."""
    specs = image_specs(REQUEST, checkpoint.description)
    parts = [specs[start : start + AT_ONCE] for start in range(0, len(specs), AT_ONCE)]
    return torch.cat([to_uint8(last_step(sample_batch(checkpoint, REQUEST, part)).xt).cpu() for part in parts])


def trained(name: str, seed: int, images: Path, work: Path, minutes: float) -> dict:
    """Return the number of steps and the samples of one training run, cached in WORK."""
    path = work / f"{name.split()[0].replace(chr(39), '')}-{seed}.pt"
    if not path.exists():
        torch.manual_seed(seed)
        if name == OURS:
            checkpoint, steps = train_ours(images, RunFolder(work / f"run-{seed}"), seed, minutes)
        else:
            unet, loop = network(channels_last=True), by_diffusers if name == DIFFUSERS else by_ddp
            checkpoint, steps = train_peer(loop(unet, Files(images), as_ours=True), unet, chain_of(name), minutes)
        pixels = images_of(checkpoint)
        save_png(path.with_suffix(".png"), contact_sheet(pixels[:16]))
        torch.save({"steps": steps, "samples": pixels}, path)
    return torch.load(path)


def spread(values: list[float]) -> str:
    """Return the mean and its standard error, which takes two values or more."""
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values) / len(values) ** 0.5:.2f}"


def main() -> None:
    train_zip, test_zip, work, minutes = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), float(sys.argv[4])
    seeds = range(int(sys.argv[5]) if len(sys.argv) > 5 else 3)
    if not (images := work / "images").exists():
        write_flat(train_zip, images)
    extract = partial(extract_features, classifier=load_feature_classifier(best_device()))
    real = extract(torch.cat([load_split(test_zip, held_out)[0] for held_out in (False, True)]))
    real = real[torch.randperm(len(real), generator=torch.Generator().manual_seed(0))]
    yardstick, reference = real[:IMAGES], real[IMAGES:]
    print(f"{minutes:g} minutes each, {len(seeds)} seeds; {IMAGES} samples against {len(reference)} test images\n")
    print("| | images seen | distance | difference from ours | precision | recall |\n|---|---|---|---|---|---|")
    ours: list[float] = []
    for name in (OURS, DIFFUSERS, DDP):
        found = [trained(name, seed, images, work, minutes) for seed in seeds]
        features = [extract(one["samples"]) for one in found]
        distances = [frechet_distance(one, reference) for one in features]
        ours = ours or distances
        behind = "" if name == OURS else spread([theirs - our for theirs, our in zip(distances, ours, strict=True)])
        cells = [spread(list(one)) for one in zip(*(precision_recall(one, reference) for one in features), strict=True)]
        seen = BATCH * statistics.mean(one["steps"] for one in found)
        print(f"| {name} | {seen:,.0f} | {spread(distances)} | {behind} | {' | '.join(cells)} |", flush=True)
    print(f"\n{IMAGES} other test images: {frechet_distance(yardstick, reference):.2f}.")


if __name__ == "__main__":
    main()
