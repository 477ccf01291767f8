"""Compare fine-tuning settings on small data sets, at the same number of steps.

    python -m benchmarks.fine_tuning_sets CIFAR10.zip EMOJI.zip SETS
    python -m benchmarks.fine_tuning run ARM SET --sets SETS --out DIR [--seed 0]
    python -m benchmarks.fine_tuning table --out DIR

An arm is the baseline with one thing changed. All arms start from the bundled model, but for the one that trains a new
network, and take the same steps. At some of them the averaged weights are measured on images of the same kind that no
arm trains on: the mean squared error of v at fixed noise and timesteps, as in benchmarks.recipe.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import mean, stdev
from unittest.mock import patch

import torch

from benchmarks.avatar_quality import load_split
from benchmarks.fine_tuning_sets import HELD_OUT, HELD_OUT_SUFFIX, SETS
from benchmarks.measuring import BUNDLED
from benchmarks.recipe import RESULT, validation_errors
from diffusion_demo.images import contact_sheet, save_png, to_uint8
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.runtime.device import best_device
from diffusion_demo.sampling.generate import last_step, sample
from diffusion_demo.sampling.request import Request
from diffusion_demo.training import events, initialize
from diffusion_demo.training.config import config_with_inherited
from diffusion_demo.training.loop import Budget, train
from diffusion_demo.training.run_folder import RunFolder

BASELINE = {"init_from": str(BUNDLED), "learning_rate": 3e-4, "warmup_steps": 50, "dropout": 0.0}
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


def run_arm(arm: str, seed: int, images: Path, held_out: Path, run: RunFolder) -> None:
    settings = {name: value for name, value in (BASELINE | ARMS[arm]).items() if value is not None}
    config = config_with_inherited(
        settings | {"data": str(images), "seed": seed, "save_every": MEASURE_AT[0], "sample_every": 10 * STEPS}
    )
    parts = [load_split(str(held_out), part) for part in (False, True)]
    others, labels = (torch.cat(part)[:HELD_OUT] for part in zip(*parts, strict=True))
    errors = {}
    with frozen_downward_half() if arm == FROZEN else nullcontext():
        for event in train(config, run, Budget(max_steps=STEPS), resume=False, command="benchmarks.fine_tuning"):
            if isinstance(event, events.Saved) and event.step in MEASURE_AT:
                average = load_checkpoint(run.path / event.path, best_device())
                classes = labels if average.description.class_names else None
                errors[event.step] = validation_errors(average, others, classes)[0]
    request = Request(num_images=32, seed=0)
    sheet = contact_sheet(to_uint8(last_step(sample(load_checkpoint(run.latest(), best_device()), request)).xt))
    save_png(run.path / "samples.png", sheet)
    (run.path / RESULT).write_text(json.dumps(errors, indent=2) + "\n", encoding="utf-8")


def table(out: Path) -> None:
    """Print the mean error of each arm over the seeds of each data set, and its largest standard error."""
    print(f"| arm | seeds | {' | '.join(f'{step} steps' for step in MEASURE_AT)} | largest standard error |")
    print("|---" * (3 + len(MEASURE_AT)) + "|")
    for arm in ARMS:
        found = {
            name: [
                json.loads(path.read_text("utf-8")) for path in out.glob(f"{name}/{arm.replace(' ', '_')}-*/{RESULT}")
            ]
            for name in SETS
        }
        values = {name: [[seed[str(step)] for seed in found[name]] for step in MEASURE_AT] for name in SETS}
        cells = [" / ".join(f"{mean(values[name][i]):.3f}" for name in SETS) for i in range(len(MEASURE_AT))]
        errors = [stdev(seeds) / len(seeds) ** 0.5 for of_set in values.values() for seeds in of_set]
        seeds = " / ".join(str(len(found[name])) for name in SETS)
        print(f"| {arm} | {seeds} | {' | '.join(cells)} | {max(errors):.4f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command")
    run = commands.add_parser("run")
    run.add_argument("arm", choices=ARMS)
    run.add_argument("set", choices=SETS)
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--sets", type=Path, required=True)
    for command in (run, commands.add_parser("table")):
        command.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "table":
        table(arguments.out)
    else:
        torch.set_num_threads(1)
        images, name = arguments.sets / arguments.set, f"{arguments.arm.replace(' ', '_')}-{arguments.seed}"
        held_out = images.with_name(f"{arguments.set}{HELD_OUT_SUFFIX}")
        run_arm(arguments.arm, arguments.seed, images, held_out, RunFolder(arguments.out / arguments.set / name))


if __name__ == "__main__":
    main()
