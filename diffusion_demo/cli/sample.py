"""python -m diffusion_demo sample"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusion_demo.models.checkpoint import Checkpoint
    from diffusion_demo.sampling.request import Request

HELP = "sample images from a checkpoint"


def parse_steps(text: str) -> int | str:
    """Return a number of steps, or the text itself if it specifies the timesteps."""
    return int(text) if text.isdecimal() else text


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to the parser."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="DIR|NAME|HUB_ID",
        help="a checkpoint, a run folder (its latest checkpoint), a diffusers folder, a bundled checkpoint such as "
        "avatars-32, or a Hugging Face Hub id",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="output folder of seed_00000000.png and so on"
    )
    parser.add_argument("--num-images", type=int, default=16, metavar="N", help="number of images; default: 16")
    _add_sampler_options(parser)
    _add_guidance_options(parser)
    parser.add_argument(
        "--upsampler",
        metavar="DIR",
        help="a model that enlarges each image after sampling, such as emoji-64",
    )
    parser.add_argument("--precision", default="auto", metavar="auto|fp32|bf16", help="default: auto")
    parser.add_argument("--json", action="store_true", help="report as JSON on stdout")


def _add_sampler_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sampler",
        default="dpm_solver",
        metavar="NAME",
        help="dpm_solver (8 to 20 steps), ddim (25 or more) or ddpm (100 or more)",
    )
    parser.add_argument(
        "--steps",
        type=parse_steps,
        default=12,
        metavar="N",
        help="number of steps, or the timesteps: 10,15,20, ddim50, trailing:20; default: 12",
    )
    parser.add_argument(
        "--eta",
        type=float,
        metavar="E",
        help="fresh noise in each step, 0 to 1; default: 0.5 for dpm_solver, 0 for ddim",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="image i depends only on seed + i; default: 0")
    parser.add_argument(
        "--class",
        dest="class_name",
        metavar="NAME|INDEX",
        help="class of all images; default: drawn from the seed of each image",
    )


def _add_guidance_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--guidance-scale",
        type=float,
        default=1.0,
        metavar="W",
        help="scale of classifier-free guidance; 1 is off, 2 to 4 follows the class more closely",
    )
    parser.add_argument(
        "--guidance-interval",
        type=int,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="range of t in which guidance acts; default: the noisier 60 %%",
    )
    parser.add_argument(
        "--classifier-scale",
        type=float,
        default=0.0,
        metavar="W",
        help="scale of classifier guidance; 0 is off, 1 to 4 is usual",
    )
    parser.add_argument(
        "--classifier", metavar="DIR", help="noisy classifier that guides; default: the one in the model folder"
    )


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    """Sample images into a folder and return the exit code."""
    from tqdm import tqdm

    from diffusion_demo.models.checkpoint import load_checkpoint, with_classifier
    from diffusion_demo.models.metadata import checkpoint_name
    from diffusion_demo.runtime.device import best_device
    from diffusion_demo.sampling.image_writer import sample_to_folder
    from diffusion_demo.sampling.request import image_specs
    from diffusion_demo.training.run_folder import resolve_checkpoint

    folder, provenance, upsampler = resolve_checkpoint(parsed.checkpoint), {}, None
    checkpoint = load_checkpoint(folder, best_device())
    if parsed.classifier is not None:
        other = resolve_checkpoint(parsed.classifier)
        checkpoint, provenance["classifier"] = with_classifier(checkpoint, other), checkpoint_name(other)
    if parsed.upsampler is not None:
        other = resolve_checkpoint(parsed.upsampler)
        upsampler, provenance["upsampler"] = load_checkpoint(other, best_device()), checkpoint_name(other)
    request = _parse_request(parsed, checkpoint)
    bars = []

    def progress(images: int) -> None:
        if not bars:  # created late, so that an error is the only output
            bars.append(tqdm(total=parsed.num_images, unit="image", disable=parsed.json))
        bars[0].update(images)

    specs, name = image_specs(request, checkpoint.description), checkpoint_name(folder)
    paths = sample_to_folder(checkpoint, name, request, specs, parsed.out, progress, upsampler, **provenance)
    bars[0].close()
    if parsed.json:
        print(json.dumps({"files": [str(path) for path in paths]}))
    else:
        print(f"{len(paths)} images in {parsed.out}")
    return 0


def _parse_request(parsed: argparse.Namespace, checkpoint: "Checkpoint") -> "Request":
    """Return the request given by the options. Raises BadInput if the model does not support it."""
    from diffusion_demo.sampling.presets import DEFAULT_ETA, default_guidance_interval
    from diffusion_demo.sampling.request import Request, class_index

    description, interval = checkpoint.description, None
    if parsed.guidance_scale != 1 or parsed.classifier_scale != 0:
        low, high = parsed.guidance_interval or default_guidance_interval(description.num_train_timesteps)
        interval = low, high
    request = Request(
        num_images=parsed.num_images,
        sampler=parsed.sampler,
        steps=parsed.steps,
        eta=DEFAULT_ETA.get(parsed.sampler, 0.0) if parsed.eta is None else parsed.eta,
        seed=parsed.seed,
        class_index=None if parsed.class_name is None else class_index(parsed.class_name, description),
        guidance_scale=parsed.guidance_scale,
        precision=parsed.precision,
        guidance_interval=interval,
        classifier_scale=parsed.classifier_scale,
    )
    request.check(description)
    return request
