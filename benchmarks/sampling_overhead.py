"""What sampling costs besides the network: 16 images in 25 steps against the 25 bare network calls, in one process.

python -m benchmarks.sampling_overhead [CHECKPOINT]
"""

import statistics
import sys
import time
from pathlib import Path

import torch

from diffusion_demo.images import to_uint8
from diffusion_demo.machine import best_device, resolve_precision
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.models.unet import as_denoiser
from diffusion_demo.sampling import Request, last_step, sample

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 9
REQUEST = Request(num_images=16, steps=25, seed=0)


@torch.no_grad()
def bare(checkpoint: Checkpoint, request: Request) -> None:
    unet = checkpoint.unet
    denoiser = as_denoiser(unet, resolve_precision(request.precision, unet.device))
    size = checkpoint.description.image_size
    xt = torch.randn(request.num_images, checkpoint.description.channels, size, size, device=unet.device)
    labels = torch.zeros(request.num_images, dtype=torch.int64, device=unet.device)
    condition = {"class_labels": labels} if checkpoint.description.class_names else {}
    for t in range(999, 0, -40):
        denoiser(xt, torch.full((request.num_images,), t, device=unet.device), **condition)


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    checkpoint = load_checkpoint(sys.argv[1] if len(sys.argv) > 1 else ROOT / "checkpoints" / "emoji-32", best_device())
    works = [
        lambda: bare(checkpoint, REQUEST),
        lambda: to_uint8(last_step(sample(checkpoint, REQUEST)).xt),
    ]
    for work in works:
        work()
    rounds = [[seconds(work) for work in works] for _ in range(ROUNDS)]
    alone, sampling = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(b / a for a, b in rounds)
    print(f"device {checkpoint.unet.device}, precision {resolve_precision('auto', checkpoint.unet.device)}, torch {torch.__version__}")
    print(f"25 bare network calls {alone:.2f} s; sampling {sampling:.2f} s; ratio {ratio:.3f} (median of {ROUNDS} pairs)")


if __name__ == "__main__":
    main()
