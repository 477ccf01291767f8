"""Compare fine-tuning settings on small data sets, at the same number of steps.

    python -m benchmarks.fine_tuning run ARM --data IMAGES --held-out IMAGES --out DIR [--seed 0]
    python -m benchmarks.fine_tuning table --out DIR

An arm is the baseline with one thing changed. All arms start from the bundled model, but for the one that trains a new
network, and take the same steps. At some of them the average of each EMA decay is measured on images of the same kind
that no arm trains on: the mean squared error of v at fixed noise and timesteps, as in benchmarks.recipe.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.avatar_quality import load_split
from benchmarks.measuring import BUNDLED
from benchmarks.recipe import RESULT, spread, validation_errors
from diffusion_demo.images import contact_sheet, save_png, to_uint8
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.runtime.device import best_device
from diffusion_demo.sampling.generate import last_step, sample
from diffusion_demo.sampling.request import Request
from diffusion_demo.training import events, initialize
from diffusion_demo.training.config import config_with_inherited
from diffusion_demo.training.loop import Budget, train
from diffusion_demo.training.run_folder import RunFolder

DECAYS = (0.9995, 0.999, 0.99)
BASELINE = {"init_from": str(BUNDLED), "learning_rate": 3e-4, "warmup_steps": 50, "dropout": 0.0, "ema_decays": DECAYS}
ARMS = {
    "baseline": {},
    "learning rate 1e-4": {"learning_rate": 1e-4},
    "learning rate 1e-3": {"learning_rate": 1e-3},
    "dropout 0.1": {"dropout": 0.1},
    "dropout 0.3": {"dropout": 0.3},
    "no flips": {"flip": False},
    "downward half frozen": {},
    "new network": {"init_from": None, "learning_rate": 1e-3, "warmup_steps": 200, "dropout": None},
}
FROZEN = "downward half frozen"
STEPS, MEASURE_AT = 800, (100, 200, 400, 800)
HELD_OUT_IMAGES = 500


@contextmanager
def frozen_downward_half() -> Iterator[None]:
    """Freeze conv_in and down_blocks of the network of a trainer that is created in this context."""
    build = initialize.load_or_build

    def frozen(*arguments) -> Checkpoint:
        start = build(*arguments)
        for part in (start.unet.conv_in, start.unet.down_blocks):
            part.requires_grad_(False)
        return start

    with patch("diffusion_demo.training.trainer.load_or_build", frozen):
        yield


def measure(folder: Path, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the error of v on held-out images, for the average of each EMA decay."""
    checkpoint, errors = load_checkpoint(folder, best_device()), {}
    classes = labels if checkpoint.description.class_names else None
    for decay in DECAYS:
        average = EMAModel(checkpoint.unet.parameters())
        shadow = load_file(folder / "state" / f"ema_{decay}.safetensors")
        average.shadow_params = [shadow[str(i)].to(best_device()) for i in range(len(shadow))]
        average.copy_to(checkpoint.unet.parameters())
        errors[str(decay)] = validation_errors(checkpoint, images, classes)[0]
    return errors


def run_arm(arm: str, seed: int, images: Path, held_out: Path, out: Path) -> None:
    settings = {name: value for name, value in (BASELINE | ARMS[arm]).items() if value is not None}
    config = config_with_inherited(
        settings | {"data": str(images), "seed": seed, "save_every": MEASURE_AT[0], "sample_every": 10 * STEPS}
    )
    parts = [load_split(held_out, part) for part in (False, True)]
    others, labels = (torch.cat(part)[:HELD_OUT_IMAGES] for part in zip(*parts, strict=True))
    errors = {}
    run = RunFolder(out / f"{arm.replace(' ', '_')}-{seed}")
    with frozen_downward_half() if arm == FROZEN else patch.dict({}):
        for event in train(config, run, Budget(max_steps=STEPS), resume=False, command="benchmarks.fine_tuning"):
            if isinstance(event, events.Saved) and event.step in MEASURE_AT:
                errors[event.step] = measure(run.path / event.path, others, labels)
    request = Request(num_images=32, seed=0)
    sheet = contact_sheet(to_uint8(last_step(sample(load_checkpoint(run.latest(), best_device()), request)).xt))
    save_png(run.path / "samples.png", sheet)
    result = {"arm": arm, "seed": seed, "errors": errors}
    (run.path / RESULT).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def table(out: Path) -> None:
    """Print the errors of each arm with the best EMA decay at each number of steps, as means over the seeds."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob(f"*/{RESULT}"))]
    print(f"| arm | {' | '.join(f'{step} steps' for step in MEASURE_AT)} |\n{'|---' * (1 + len(MEASURE_AT))}|")
    for arm in ARMS:
        cells = []
        for step in MEASURE_AT:
            seeds = [one["errors"][str(step)] for one in found if one["arm"] == arm]
            if seeds:
                best = min(seeds[0], key=lambda decay: sum(errors[decay] for errors in seeds))
                cells.append(f"{spread([errors[best] for errors in seeds])} (EMA {best})")
        print(f"| {arm} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command")
    run = commands.add_parser("run")
    run.add_argument("arm", choices=ARMS)
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--data", type=Path, required=True)
    run.add_argument("--held-out", type=Path, required=True)
    for command in (run, commands.add_parser("table")):
        command.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "table":
        table(arguments.out)
    else:
        torch.set_num_threads(1)
        run_arm(arguments.arm, arguments.seed, arguments.data, arguments.held_out, arguments.out)


if __name__ == "__main__":
    main()
