"""Held-out images, made half as large and enlarged again: by the upsampler, and by bicubic interpolation.

    python -m benchmarks.upsampling DATA [UPSAMPLER] [SHEET.png]

PSNR (of one sample, and of the mean of eight, which is nearer to the mean of all that the small image allows) says how near each pixel is; the
Frechet distance, in the judge's features of each image's four quarters, whether the whole looks like images of that size. How much farther it
is than bicubic's has the error of the difference itself, resampled in pairs. The sheet shows, of a dozen images, the small one, bicubic, one
sample, the mean of eight and the real one.
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
from diffusion_demo.runtime.device import best_device
from diffusion_demo.sampling.generate import last_step, upsample
from diffusion_demo.sampling.image_writer import BATCH_SIZE
from diffusion_demo.sampling.request import Request, image_specs

UPSAMPLER = Path(__file__).resolve().parents[1] / "checkpoints" / "emoji-64"
SAMPLES = 8


def enlarged(upsampler: Checkpoint, small: Tensor, seed: int) -> Tensor:
    """One sample of each small image uint8 [N, C, s, s], in the default sampler and steps: uint8 [N, C, S, S]."""
    parts = []
    for start in range(0, len(small), BATCH_SIZE):
        part = small[start : start + BATCH_SIZE]
        request = Request(num_images=len(part), seed=seed + start)
        parts.append(
            to_uint8(last_step(upsample(upsampler, part, request, image_specs(request, upsampler.description))).xt)
        )
    return torch.cat(parts)


def psnr(made: Tensor, real: Tensor) -> Tensor:
    """Peak signal to noise, 10 log10(255^2 / mse), of each image: [N] in dB."""
    return 10 * (255**2 / ((made.double() - real.double()) ** 2).flatten(1).mean(1)).log10()


def quarters(pixels: Tensor) -> Tensor:
    """Each image's four quarters: [N, C, S, S] -> [4N, C, S/2, S/2]."""
    half = pixels.shape[-1] // 2
    return pixels.unfold(2, half, half).unfold(3, half, half).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


def main() -> None:
    source = sys.argv[1]
    upsampler = load_checkpoint(sys.argv[2] if len(sys.argv) > 2 else UPSAMPLER, best_device())
    about = upsampler.description
    real = data.load(data.scan(source), about.image_size, about.channels, held_out=True).images
    small = to_uint8(F.avg_pool2d(to_float(real), about.image_size // about.small_size))
    bicubic = to_uint8(F.interpolate(to_float(small), real.shape[-2:], mode="bicubic"))
    samples = [enlarged(upsampler, small, 1000 * i) for i in tqdm(range(SAMPLES), unit="sample of each")]
    mean = torch.stack(samples).double().mean(0)
    judge = load_feature_classifier(best_device())
    reference = extract_features(quarters(real), judge)
    print(
        f"{len(real)} held-out images, {about.small_size} to {about.image_size} pixels, {Request.sampler} with {Request.steps} steps\n"
    )
    print("| | PSNR, dB | Frechet distance of quarters | farther than bicubic |\n|---|---|---|---|")
    bicubic_features = extract_features(quarters(bicubic), judge)
    for name, made in (
        ("bicubic", bicubic),
        ("one sample", samples[0]),
        (f"mean of {SAMPLES} samples", mean.round().to(torch.uint8)),
    ):
        decibels, features = psnr(made, real), extract_features(quarters(made), judge)
        distance, error = frechet_estimate(features, reference), decibels.std() / len(decibels) ** 0.5
        more, spread = excess(features, bicubic_features, reference)
        farther = "" if made is bicubic else f"{more:+.3f} ± {spread:.3f}"
        print(
            f"| {name} | {decibels.mean():.2f} ± {error:.2f} | {distance.value:.3f} ± {distance.standard_error:.3f} | {farther} |"
        )
    if len(sys.argv) > 3:
        shown = [
            F.interpolate(small.float(), real.shape[-2:]).to(torch.uint8),
            bicubic,
            samples[0],
            mean.round().to(torch.uint8),
            real,
        ]
        chosen = torch.linspace(0, len(real) - 1, 12).long()
        save_png(Path(sys.argv[3]), contact_sheet(torch.stack(shown, 1)[chosen].flatten(0, 1), columns=10))


if __name__ == "__main__":
    main()
