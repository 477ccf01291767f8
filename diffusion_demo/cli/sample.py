"""python -m diffusion_demo sample"""

import argparse
import json
from pathlib import Path

HELP = "make images with a checkpoint"


def steps(text: str) -> int | str:
    """A count, or the words that say which timesteps are visited."""
    return int(text) if text.isdecimal() else text


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="DIR|HUB_ID",
        help="a checkpoint, a run folder for its newest, a diffusers folder, or a name on the Hugging Face Hub",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="where seed_00000000.png and so on are written"
    )
    parser.add_argument("--num-images", type=int, default=16, metavar="N")
    parser.add_argument(
        "--sampler",
        default="dpm_solver",
        metavar="NAME",
        help="dpm_solver (8 to 20 steps), ddim (25 and more) or ddpm (100 and more)",
    )
    parser.add_argument(
        "--steps",
        type=steps,
        default=12,
        metavar="N",
        help="network calls an image, or which: 10,15,20, ddim50, trailing:20",
    )
    parser.add_argument(
        "--eta",
        type=float,
        metavar="E",
        help="fresh noise in each step, 0 to 1; default: 0.5 for dpm_solver, 0 for ddim",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="image i is made from seed + i alone")
    parser.add_argument(
        "--class", dest="class_name", metavar="NAME|INDEX", help="one class for all; else drawn from each seed"
    )
    parser.add_argument(
        "--guidance-scale", type=float, default=1.0, metavar="W", help="1 is off, 2 to 4 follows the class more closely"
    )
    parser.add_argument(
        "--guidance-interval",
        type=int,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="the t between which guidance acts; default: the noisier 60 %%",
    )
    parser.add_argument(
        "--classifier-scale",
        type=float,
        default=0.0,
        metavar="W",
        help="guidance by a noisy classifier: 0 is off, 1 to 4 usual",
    )
    parser.add_argument(
        "--classifier", metavar="DIR", help="the classifier that guides; default: the one beside the model"
    )
    parser.add_argument(
        "--upsampler",
        metavar="DIR",
        help="a model that makes each image larger afterwards, such as checkpoints/emoji-64",
    )
    parser.add_argument("--precision", default="auto", metavar="auto|fp32|bf16")
    parser.add_argument("--json", action="store_true", help="report as JSON on stdout")


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    from tqdm import tqdm

    from diffusion_demo.models.checkpoint import load_checkpoint, with_classifier
    from diffusion_demo.models.metadata import checkpoint_name
    from diffusion_demo.runtime.device import best_device
    from diffusion_demo.sampling.image_writer import sample_to_folder
    from diffusion_demo.sampling.presets import DEFAULT_ETA, default_guidance_interval
    from diffusion_demo.sampling.request import Request, class_index, image_specs
    from diffusion_demo.training.run_folder import resolve_checkpoint

    folder, helpers, upsampler = resolve_checkpoint(parsed.checkpoint), {}, None
    checkpoint = load_checkpoint(folder, best_device())
    if parsed.classifier is not None:
        other = resolve_checkpoint(parsed.classifier)
        checkpoint, helpers["classifier"] = with_classifier(checkpoint, other), checkpoint_name(other)
    if parsed.upsampler is not None:
        other = resolve_checkpoint(parsed.upsampler)
        upsampler, helpers["upsampler"] = load_checkpoint(other, best_device()), checkpoint_name(other)
    description = checkpoint.description
    guided = parsed.guidance_scale != 1 or parsed.classifier_scale != 0
    request = Request(
        num_images=parsed.num_images,
        sampler=parsed.sampler,
        steps=parsed.steps,
        eta=DEFAULT_ETA.get(parsed.sampler, 0.0) if parsed.eta is None else parsed.eta,
        seed=parsed.seed,
        class_index=None if parsed.class_name is None else class_index(parsed.class_name, description),
        guidance_scale=parsed.guidance_scale,
        precision=parsed.precision,
        guidance_interval=tuple(parsed.guidance_interval or default_guidance_interval(description.num_train_timesteps))
        if guided
        else None,
        classifier_scale=parsed.classifier_scale,
    )
    request.check(description)
    bars = []

    def progress(images: int) -> None:
        if not bars:
            bars.append(tqdm(total=parsed.num_images, unit="image", disable=parsed.json))
        bars[0].update(images)

    specs = image_specs(request, description)
    paths = sample_to_folder(
        checkpoint, checkpoint_name(folder), request, specs, parsed.out, progress, upsampler, **helpers
    )
    bars[0].close()
    if parsed.json:
        print(json.dumps({"files": [str(path) for path in paths]}))
    else:
        print(f"{len(paths)} images in {parsed.out}")
    return 0
