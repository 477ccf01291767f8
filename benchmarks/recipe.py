"""Compare training settings at equal minutes of one core.

    python -m benchmarks.recipe run baseline --data TRAIN.zip --validation VALIDATION.zip --out DIR
    python -m benchmarks.recipe table --out DIR

An arm is the baseline with one thing changed. Its budget is the CPU time of a process with one thread, so two arms
can run at once and other work on the machine takes nothing from them. Each arm is judged on validation images that no
arm trains on, at fixed noise and timesteps, for each of its EMA decays. The error is stated for v and for eps,
because no network is trained on both.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file
from torch import Tensor

from diffusion_demo import data
from diffusion_demo.diffusion.timesteps import stratified_timesteps
from diffusion_demo.images import contact_sheet, save_png, to_float, to_uint8
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.models.unet import PRESETS, Preset
from diffusion_demo.sampling.generate import device_of, last_step, sample
from diffusion_demo.sampling.request import Request
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.loop import Budget, train
from diffusion_demo.training.run_folder import RunFolder

BASELINE = {
    "preset": "narrow",
    "prediction_type": "v_prediction",
    "learning_rate": 8e-4,
    "snr_gamma": 0.0,
    "batch_size": 32,
    "dropout": 0.0,
    "flip": False,
    "ema_decays": (0.9995, 0.999, 0.99, 0.98),
}
# Networks of about 4 million parameters: more channels at the highest resolution (the preset `small` since 0.2.0), more
# at the lowest (`small` in 0.1.0), or more residual blocks per level.
NETWORKS = {
    "narrow": Preset((32, 80, 160), 1, (8,)),
    "wide": Preset((64, 96, 128), 1, (8,)),
    "deep": Preset((32, 64, 128), 2, (8,)),
}
ARMS = {
    "baseline": {},
    "epsilon": {"prediction_type": "epsilon"},
    "learning rate 4e-4": {"learning_rate": 4e-4},
    "learning rate 1.6e-3": {"learning_rate": 1.6e-3},
    "batch 64": {"batch_size": 64},
    "dropout 0.1": {"dropout": 0.1},
    "flips": {"flip": True},
    "wide": {"preset": "wide"},
    "deep": {"preset": "deep"},
    "min-SNR 5": {"snr_gamma": 5.0},
    "wide and min-SNR 5": {"preset": "wide", "snr_gamma": 5.0},
    "cosine": {"lr_scheduler": "cosine"},
    "final decay": {"lr_scheduler": "warmup_stable_decay"},
}
VALIDATION_IMAGES = 1000
RESULT = "recipe.json"


def train_arm(arm: str, seed: int, images: Path, run: RunFolder, minutes: float) -> int:
    """Train for a number of CPU minutes, counted from the first step, and return the number of steps."""
    settings = BASELINE | ARMS[arm]
    if (
        "lr_scheduler" in settings
    ):  # a schedule that ends needs its last step: the one that the baseline reached in the same time
        baseline = run.path.with_name(f"baseline-{seed}") / RESULT
        settings["lr_total_steps"] = json.loads(baseline.read_text(encoding="utf-8"))["steps"]
    config = TrainConfig(data=str(images), seed=seed, save_every=10**6, sample_every=10**6, **settings)
    begun = time.process_time()
    stopping = False
    for event in train(config, run, Budget(max_steps=10**6), resume=False, command="benchmarks.recipe"):
        if event.to_json()["type"] == "start":
            begun = time.process_time()
        if not stopping and time.process_time() - begun > 60 * minutes:
            run.control_file.write_text('{"type": "stop"}\n', encoding="utf-8")
            stopping = True
    return event.step


@torch.no_grad()
def validation_errors(checkpoint: Checkpoint, images: Tensor, labels: Tensor | None) -> tuple[float, float]:
    """Return the mean squared errors of v and eps over all timesteps, at the same noise for every network.

    images: uint8 [N, C, S, S]; labels: int64 [N], or None for a network without classes.
    """
    generator = torch.Generator().manual_seed(0)
    chain, network, device = checkpoint.diffusion, checkpoint.unet.eval(), device_of(checkpoint)
    t = stratified_timesteps(len(images), len(chain), generator)
    x0 = to_float(images)
    eps = torch.randn(x0.shape, generator=generator)
    errors = []
    for rows in torch.arange(len(images)).split(100):
        xt, classes = chain.q_sample(x0[rows], t[rows], eps[rows]), None if labels is None else labels[rows].to(device)
        with torch.autocast(device.type, torch.bfloat16):
            output = network(xt.to(device), t[rows].to(device), class_labels=classes, return_dict=False)[0]
        predicted = chain.p(output.float().cpu(), xt, t[rows]).x0  # clipped to [-1, 1], as it is sampled
        abar = chain.abar[t[rows]].float()
        error = ((predicted - x0[rows]) ** 2).flatten(1).mean(1) / (
            1 - abar
        )  # of v: x0 = sqrt(abar) xt - sqrt(1 - abar) v
        errors.append(torch.stack([error, error * abar]))
    v, eps_error = torch.cat(errors, dim=1).mean(1).tolist()
    return v, eps_error


def measure_arm(run: RunFolder, validation: Path, decays: tuple[float, ...]) -> dict:
    """Return the validation errors of each EMA decay and of the raw weights, and save samples of the best decay."""
    source = run.latest()
    checkpoint = load_checkpoint(source)
    report = data.scan(validation)
    entries = [data.load(report, checkpoint.description.image_size, 3, held_out=part) for part in (False, True)]
    images = torch.cat([part.images for part in entries])[:VALIDATION_IMAGES]
    labels = torch.cat([part.labels for part in entries])[:VALIDATION_IMAGES]
    errors, weights = {}, {}
    for decay in decays:
        average = EMAModel(checkpoint.unet.parameters())
        shadow = load_file(source / "state" / f"ema_{decay}.safetensors")
        average.shadow_params = weights[str(decay)] = [shadow[str(i)] for i in range(len(shadow))]
        average.copy_to(checkpoint.unet.parameters())
        errors[str(decay)] = validation_errors(checkpoint, images, labels)
    checkpoint.unet.load_state_dict(load_file(source / "state" / "weights.safetensors"))
    errors["raw"] = validation_errors(checkpoint, images, labels)
    best = min(weights, key=lambda decay: errors[decay][0])
    average.shadow_params = weights[best]
    average.copy_to(checkpoint.unet.parameters())
    request = Request(num_images=16, seed=0, guidance_scale=2.0, precision="bf16")
    sheet = contact_sheet(to_uint8(last_step(sample(checkpoint, request)).xt))
    save_png(run.path / "sixteen.png", sheet.resize((sheet.width * 3, sheet.height * 3), 0))
    return {"errors": errors, "best_decay": best}


def run_arm(arm: str, seed: int, images: Path, validation: Path, out: Path, minutes: float) -> None:
    torch.set_num_threads(1)
    PRESETS.update(NETWORKS)
    run = RunFolder(out / f"{arm.replace(' ', '_')}-{seed}")
    steps = train_arm(arm, seed, images, run, minutes)
    config = run.read_config()[0]
    measured = {"arm": arm, "seed": seed, "minutes": minutes, "steps": steps, "images": steps * config.batch_size}
    measured |= measure_arm(run, validation, config.ema_decays)
    (run.path / RESULT).write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")


def table(out: Path) -> None:
    """Print a row for each arm: images seen and validation errors, as means over seeds with their standard errors."""
    rows: dict[str, list[dict]] = {}
    for path in sorted(out.glob(f"*/{RESULT}")):
        measured = json.loads(path.read_text(encoding="utf-8"))
        rows.setdefault(measured["arm"], []).append(measured)
    print(
        "| arm | seeds | images | v error | eps error | best EMA decay | v error of the raw weights |\n"
        + "|---" * 7
        + "|"
    )
    for arm, found in sorted(
        rows.items(), key=lambda row: statistics.mean(one["errors"][one["best_decay"]][0] for one in row[1])
    ):
        best = [one["errors"][one["best_decay"]] for one in found]
        images = statistics.mean(one["images"] for one in found)
        v, eps, raw = (
            spread(values)
            for values in ([b[0] for b in best], [b[1] for b in best], [one["errors"]["raw"][0] for one in found])
        )
        print(f"| {arm} | {len(found)} | {images:,.0f} | {v} | {eps} | {found[0]['best_decay']} | {raw} |")


def spread(values: list[float]) -> str:
    """Return the mean, with its standard error where there is more than one value."""
    mean = f"{statistics.mean(values):.5f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.5f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command")
    run = commands.add_parser("run")
    run.add_argument("arm", choices=ARMS)
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--data", type=Path, required=True)
    run.add_argument("--validation", type=Path, required=True)
    run.add_argument("--minutes", type=float, default=10)
    for command in (run, commands.add_parser("table")):
        command.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "table":
        table(arguments.out)
    else:
        run_arm(arguments.arm, arguments.seed, arguments.data, arguments.validation, arguments.out, arguments.minutes)


if __name__ == "__main__":
    main()
