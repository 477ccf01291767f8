"""Upsampling of downscaled held-out images by the upsampler, compared with bicubic interpolation.

    python -m benchmarks.upsampling DATA [UPSAMPLER] [SHEET.png]

PSNR measures the error per pixel, for one sample and for the mean of eight samples, which approximates the posterior
mean. The Frechet distance, in the feature classifier's features of the four quarters of each image, measures realism;
the standard error of its difference from bicubic is from a paired bootstrap. The sheet shows twelve images: small,
bicubic, one sample, the mean of eight, and the original.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from benchmarks.quality_against_steps import excess
from diffusion_demo import data
from diffusion_demo.evaluation.feature_classifier import extract_features, load_feature_classifier
from diffusion_demo.evaluation.frechet import frechet_estimate
from diffusion_demo.images import contact_sheet, save_png, to_float, to_uint8
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.paths import CHECKPOINTS
from diffusion_demo.runtime.device import best_device
from diffusion_demo.sampling.generate import last_step, upsample
from diffusion_demo.sampling.image_writer import BATCH_SIZE
from diffusion_demo.sampling.request import Request, image_specs

UPSAMPLER = CHECKPOINTS / "avatars-64"
SAMPLES = 8


def enlarged(upsampler: Checkpoint, small: Tensor, seed: int) -> Tensor:
    """Return one sample, uint8 [N, C, S, S], of each small image, uint8 [N, C, s, s], with the default settings."""
    parts = []
    for start in range(0, len(small), BATCH_SIZE):
        part = small[start : start + BATCH_SIZE]
        request = Request(num_images=len(part), seed=seed + start)
        specs, names = image_specs(request, upsampler.description), upsampler.description.class_names
        parts.append(to_uint8(last_step(upsample(upsampler, part, request, specs, names)).xt))
    return torch.cat(parts)


def psnr(images: Tensor, real: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio 10 log10(255^2 / mse) of each image, [N] in dB."""
    return 10 * (255**2 / ((images.double() - real.double()) ** 2).flatten(1).mean(1)).log10()


def quarters(pixels: Tensor) -> Tensor:
    """Return the four quarters of each image: [N, C, S, S] -> [4N, C, S/2, S/2]."""
    half = pixels.shape[-1] // 2
    return pixels.unfold(2, half, half).unfold(3, half, half).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


def main() -> None:
    source = sys.argv[1]
    upsampler = load_checkpoint(sys.argv[2] if len(sys.argv) > 2 else UPSAMPLER, best_device())
    description = upsampler.description
    size, small_size = description.image_size, description.small_size
    assert small_size is not None, "a trained upsampler knows the side of its inputs"
    real = data.load(data.scan(source), size, description.channels, held_out=True).images
    small = to_uint8(F.avg_pool2d(to_float(real), size // small_size))
    bicubic = to_uint8(F.interpolate(to_float(small), real.shape[-2:], mode="bicubic"))
    samples = [enlarged(upsampler, small, 1000 * i) for i in tqdm(range(SAMPLES), unit="sample of each")]
    mean = torch.stack(samples).double().mean(0)
    classifier = load_feature_classifier(best_device())
    reference = extract_features(quarters(real), classifier)
    settings = f"{Request.sampler} with {Request.steps} steps"
    print(f"{len(real)} held-out images, {small_size} to {size} pixels, {settings}\n")
    print("| | PSNR, dB | Frechet distance of quarters | difference from bicubic |\n|---|---|---|---|")
    bicubic_features = extract_features(quarters(bicubic), classifier)
    for name, images in (
        ("bicubic", bicubic),
        ("one sample", samples[0]),
        (f"mean of {SAMPLES} samples", mean.round().to(torch.uint8)),
    ):
        decibels, features = psnr(images, real), extract_features(quarters(images), classifier)
        distance, error = frechet_estimate(features, reference), decibels.std() / len(decibels) ** 0.5
        more, spread = excess(features, bicubic_features, reference)
        difference = "" if images is bicubic else f"{more:+.3f} ± {spread:.3f}"
        print(
            f"| {name} | {decibels.mean():.2f} ± {error:.2f}"
            f" | {distance.value:.3f} ± {distance.standard_error:.3f} | {difference} |"
        )
    if len(sys.argv) > 3:
        columns = [
            F.interpolate(small.float(), real.shape[-2:]).to(torch.uint8),
            bicubic,
            samples[0],
            mean.round().to(torch.uint8),
            real,
        ]
        chosen = torch.linspace(0, len(real) - 1, 12).long()
        save_png(Path(sys.argv[3]), contact_sheet(torch.stack(columns, 1)[chosen].flatten(0, 1), columns=10))


if __name__ == "__main__":
    main()
