"""The command line: sample | train | doctor. Exit 0 on success, 2 on bad input with one sentence on stderr."""

import argparse
import json
import platform
import shlex
import sys
from dataclasses import fields, replace
from importlib import metadata
from pathlib import Path

from diffusion_demo import __version__
from diffusion_demo.errors import BadInput


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        self.exit(2, f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.\n")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = _parser().parse_args(arguments)
    try:
        return parsed.run(parsed, arguments)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m diffusion_demo", description="See, run and train diffusion models.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_sample(commands.add_parser("sample", help="make pictures with a checkpoint"))
    _add_train(commands.add_parser("train", help="train a model on a folder or zip of pictures"))
    _add_doctor(commands.add_parser("doctor", help="show versions, device, and what works here"))
    return parser


def _add_sample(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_sample)
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="a checkpoint folder, or a run folder for its newest")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where seed_00000000.png and so on are written")
    parser.add_argument("--num-images", type=int, default=16, metavar="N")
    parser.add_argument("--sampler", default="ddim", metavar="NAME", help="ddim or ddpm")
    parser.add_argument("--steps", type=int, default=25, metavar="N", help="network calls a picture, 1 to the model's T")
    parser.add_argument("--eta", type=float, default=0.0, metavar="E", help="ddim's randomness, 0 to 1")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="picture i is made from seed + i alone")
    parser.add_argument("--class", dest="class_name", metavar="NAME|INDEX", help="one class for all; else drawn from each seed")
    parser.add_argument("--guidance-scale", type=float, default=1.0, metavar="W", help="1 is off, 2 to 4 follows the class more closely")
    parser.add_argument("--precision", default="auto", metavar="auto|fp32|bf16")
    parser.add_argument("--json", action="store_true", help="report as JSON on stdout")


def _sample(parsed: argparse.Namespace, arguments: list[str]) -> int:
    from tqdm import tqdm

    from diffusion_demo.machine import best_device
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.models.description import checkpoint_name, describe
    from diffusion_demo.sampling import Request, class_index, sample_to_folder
    from diffusion_demo.training.run import checkpoint_of

    folder = checkpoint_of(parsed.checkpoint)
    description = describe(folder)
    request = Request(
        num_images=parsed.num_images,
        sampler=parsed.sampler,
        steps=parsed.steps,
        eta=parsed.eta,
        seed=parsed.seed,
        class_index=None if parsed.class_name is None else class_index(parsed.class_name, description),
        guidance_scale=parsed.guidance_scale,
        precision=parsed.precision,
    )
    request.check(description)
    checkpoint = load_checkpoint(folder, best_device())
    bars = []

    def progress(images: int) -> None:
        if not bars:
            bars.append(tqdm(total=parsed.num_images, unit="image", disable=parsed.json))
        bars[0].update(images)

    paths = sample_to_folder(checkpoint, checkpoint_name(folder), request, parsed.out, progress)
    bars[0].close()
    if parsed.json:
        print(json.dumps({"files": [str(path) for path in paths]}))
    else:
        print(f"{len(paths)} pictures in {parsed.out}")
    return 0


def _decays(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _add_train(parser: argparse.ArgumentParser) -> None:
    from diffusion_demo.training.config import TrainConfig

    parser.set_defaults(run=_train)
    parser.add_argument("--run", required=True, dest="run_folder", metavar="DIR", help="the run folder, new unless --resume")
    parser.add_argument("--resume", action="store_true", help="go on with the run, with the settings that it began with")
    parser.add_argument("--max-steps", type=int, metavar="N", help="stop at this many steps in all")
    parser.add_argument("--max-minutes", type=float, metavar="M", help="stop this call after so many minutes")
    parser.add_argument("--json", action="store_true", help="print events as JSON lines on stdout")
    parser.add_argument("--data", metavar="DIR|ZIP", help="pictures; sub-folders become classes")
    parser.add_argument("--init-from", metavar="DIR", help="a checkpoint or a run to go on from")
    for field in fields(TrainConfig):
        flag = f"--{field.name.replace('_', '-')}"
        if field.name in ("data", "init_from"):
            continue
        if field.type == "bool" or field.type is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=f"default: {field.default}")
        else:
            kind = {"ema_decays": _decays, "dropout": float}.get(field.name) or type(field.default)
            parser.add_argument(flag, type=kind, metavar="X", help=f"default: {field.default}")


def _train(parsed: argparse.Namespace, arguments: list[str]) -> int:
    from diffusion_demo.training.config import TrainConfig, inherit
    from diffusion_demo.training.run import RunFolder, checkpoint_of

    run = RunFolder(parsed.run_folder)
    given = {f.name: getattr(parsed, f.name) for f in fields(TrainConfig) if getattr(parsed, f.name) is not None}
    if "data" in given:
        given["data"] = str(Path(given["data"]).resolve())
    if "init_from" in given:
        given["init_from"] = str(checkpoint_of(given["init_from"]).resolve())
    if parsed.max_steps is not None and parsed.max_steps < 1:
        raise BadInput(f"--max-steps must be at least 1, not {parsed.max_steps}.")
    if parsed.max_minutes is not None and not parsed.max_minutes > 0:
        raise BadInput(f"--max-minutes must be more than 0, not {parsed.max_minutes:g}.")
    if parsed.max_steps is None and parsed.max_minutes is None:
        raise BadInput("Say when to stop: --max-steps N or --max-minutes M (Ctrl-C saves and ends at any time).")
    if parsed.resume:
        if not run.exists:
            raise BadInput(f"{run.path} holds no run to resume; leave --resume out to start one.")
        config = run.read_config()[0]
        config = replace(config, data=given.get("data", config.data))  # the same pictures may lie elsewhere by now
        changed = [name for name, value in given.items() if value != getattr(config, name)]
        if changed:
            raise BadInput(f"A run keeps the settings that it began with; leave out --{changed[0].replace('_', '-')}, or start a new run.")
    elif "data" not in given:
        raise BadInput("Say what to train on: --data DIR or --data PICTURES.zip.")
    else:
        config = TrainConfig(**(inherit(given) if "init_from" in given else given))

    from diffusion_demo.training.events import Failed
    from diffusion_demo.training.loop import Budget, train

    command = shlex.join(["python", "-m", "diffusion_demo", *arguments])
    show = _print_json if parsed.json else _Terminal()
    failed = False
    for event in train(config, run, Budget(parsed.max_steps, parsed.max_minutes), parsed.resume, command):
        show(event)
        failed = failed or isinstance(event, Failed)
    return 1 if failed else 0


def _print_json(event) -> None:
    print(json.dumps(event.to_json()), flush=True)


class _Terminal:
    """A tqdm bar of the steps, with the other events as lines above it."""

    def __call__(self, event) -> None:
        from tqdm import tqdm

        from diffusion_demo.training import events

        match event:
            case events.Start():
                self.bar = tqdm(total=event.max_steps, initial=event.resumed_from, unit="step", dynamic_ncols=True)
                where = f"from step {event.resumed_from}" if event.resumed_from else "from the start"
                self.bar.write(f"training {event.parameters / 1e6:.2f} M parameters on {event.device} in {event.precision}, {where}")
            case events.Step():
                self.bar.update(event.step - self.bar.n)
                self.bar.set_postfix_str(f"loss {event.loss:.4f}, {event.images_per_second:.0f} images/s")
            case events.HeldOut():
                self.bar.write(f"step {event.step}: held-out loss {event.loss:.4f}")
            case events.Preview() | events.Saved():
                self.bar.write(f"step {event.step}: {event.path}")
            case events.Warned() | events.Failed():
                self.bar.write(event.message)
            case events.Finished():
                self.bar.close()
                print(f"finished at step {event.step} ({event.reason.replace('_', ' ')})")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_doctor)
    parser.add_argument("--json", action="store_true", help="report as JSON on stdout")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _doctor(parsed: argparse.Namespace, arguments: list[str]) -> int:
    import torch

    from diffusion_demo.machine import best_device, fastest_precision
    from diffusion_demo.models.description import checkpoints_in

    device = best_device()
    report = {
        "diffusion_demo": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in ("gradio", "torch", "diffusers", "accelerate", "pillow", "numpy")},
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "fastest precision": fastest_precision(device.type),
        "checkpoints": [path.name for path in checkpoints_in(Path(__file__).resolve().parents[1] / "checkpoints")],
    }
    if parsed.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:18} {', '.join(value) if isinstance(value, list) else value}")
    return 0
