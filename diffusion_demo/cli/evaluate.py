"""python -m diffusion_demo evaluate"""

import argparse
import json
from pathlib import Path

from diffusion_demo.cli.sample import steps
from diffusion_demo.errors import BadInput

HELP = "measure a checkpoint: bits per dimension, Frechet distance"
METRICS = ("nll", "fd")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, metavar="DIR|HUB_ID", help="as for sample")
    parser.add_argument("--data", required=True, metavar="DIR|ZIP", help="pictures; sub-folders are classes")
    parser.add_argument("--metrics", default="nll,fd", metavar="NAMES", help="nll: bits per dimension of the held-out pictures; fd: Frechet distance")
    parser.add_argument("--steps", type=steps, metavar="N", help="of the chain (nll; default: all) and of the sampler (fd; default: 12)")
    parser.add_argument("--num-images", type=int, default=512, metavar="N", help="pictures sampled for fd; default: 512")
    parser.add_argument("--sampler", default="dpm_solver", metavar="NAME", help="for fd; default: dpm_solver")
    parser.add_argument("--guidance-scale", type=float, default=1.0, metavar="W", help="for fd; default: 1, off")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep samples and partial results here, and go on from them")
    parser.add_argument("--json", action="store_true", help="report as JSON on stdout, with the curve over t")


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    wanted = parsed.metrics.split(",")
    if not all(name in METRICS for name in wanted):
        raise BadInput(f"Metrics must be of {', '.join(METRICS)}, with commas between, not {parsed.metrics!r}.")

    from tqdm import tqdm

    from diffusion_demo import data
    from diffusion_demo.evaluation.measure import measure_fd, measure_nll
    from diffusion_demo.machine import best_device
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.models.description import checkpoint_name
    from diffusion_demo.sampling import Request
    from diffusion_demo.training.run import checkpoint_of

    folder = checkpoint_of(parsed.checkpoint)
    checkpoint, name = load_checkpoint(folder, best_device()), checkpoint_name(folder)
    found = data.scan(parsed.data)
    report = {"checkpoint": name, "weights": checkpoint.weights, "data": found.summary(), "seed": parsed.seed}
    if "nll" in wanted:
        with tqdm(unit="picture", disable=parsed.json, delay=1) as bar:
            report["nll"] = measure_nll(checkpoint, found, parsed.steps, parsed.seed, parsed.work, bar.update)
    if "fd" in wanted:
        request = Request(
            num_images=parsed.num_images,
            sampler=parsed.sampler,
            steps=Request.steps if parsed.steps is None else parsed.steps,
            seed=parsed.seed,
            guidance_scale=parsed.guidance_scale,
        )
        with tqdm(total=parsed.num_images, unit="image", disable=parsed.json, delay=1) as bar:
            report["fd"] = measure_fd(checkpoint, name, found, request, parsed.work, bar.update)
    print(json.dumps(report) if parsed.json else "\n".join(_lines(report)))
    return 0


def _lines(report: dict) -> list[str]:
    lines = []
    if nll := report.get("nll"):
        error = f" ± {nll['standard_error']:.3f}" if nll["standard_error"] is not None else ""
        parts = ", ".join(f"{name} {nll[name]:.4f}" for name in ("L_0", "L_1 to L_T-1", "L_T"))
        lines.append(f"{nll['bits_per_dim']:.3f}{error} bits/dim over {nll['pictures']} pictures, {nll['steps']} steps: {parts}")
    if fd := report.get("fd"):
        low, high = fd["interval"]
        lines.append(
            f"Frechet distance {fd['distance']:.2f} ({low:.2f} to {high:.2f}) of {fd['samples']} samples from {fd['reference']} pictures,"
            f" {fd['sampler']} with {fd['steps']} steps, features of {fd['features']}"
        )
    return lines
