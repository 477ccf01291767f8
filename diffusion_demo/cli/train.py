"""python -m diffusion_demo train"""

import argparse
import json
import shlex
from dataclasses import fields
from pathlib import Path

from diffusion_demo.errors import BadInput

HELP = "train a model on a folder or zip of images"


def _decays(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def add_options(parser: argparse.ArgumentParser) -> None:
    from diffusion_demo.training.config import TrainConfig

    parser.add_argument(
        "--run", required=True, dest="run_folder", metavar="DIR", help="the run folder, new unless --resume"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run, with the settings that it began with"
    )
    parser.add_argument("--max-steps", type=int, metavar="N", help="stop at this many steps in all")
    parser.add_argument("--max-minutes", type=float, metavar="M", help="stop this call after so many minutes")
    parser.add_argument("--json", action="store_true", help="print events as JSON lines on stdout")
    parser.add_argument("--data", metavar="DIR|ZIP", help="images; sub-folders become classes")
    parser.add_argument(
        "--init-from", metavar="DIR|HUB_ID", help="a checkpoint, a run or a diffusers model to go on from"
    )
    for field in fields(TrainConfig):
        flag = f"--{field.name.replace('_', '-')}"
        if field.name in ("data", "init_from"):
            continue
        if field.name == "preset":
            parser.add_argument(
                flag, metavar="NAME", help="tiny, small (default), medium, or a paper's: iddpm-64, adm-64, ..."
            )
        elif field.type == "bool" or field.type is bool:
            parser.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=None, help=f"default: {field.default}"
            )
        else:
            kind = {
                "ema_decays": _decays,
                "dropout": float,
                "snr_gamma": float,
                "lr_total_steps": int,
                "lr_decay_steps": int,
            }.get(field.name) or type(field.default)
            parser.add_argument(flag, type=kind, metavar="X", help=f"default: {field.default}")


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    from diffusion_demo.training.config import TrainConfig, config_of
    from diffusion_demo.training.resume import resumed_config
    from diffusion_demo.training.run_folder import RunFolder, resolve_init_from

    run = RunFolder(parsed.run_folder)
    given = {f.name: getattr(parsed, f.name) for f in fields(TrainConfig) if getattr(parsed, f.name) is not None}
    if "data" in given:
        given["data"] = str(Path(given["data"]).resolve())
    if "init_from" in given:
        given["init_from"] = resolve_init_from(given["init_from"])
    if parsed.max_steps is not None and parsed.max_steps < 1:
        raise BadInput(f"--max-steps must be at least 1, not {parsed.max_steps}.")
    if parsed.max_minutes is not None and not parsed.max_minutes > 0:
        raise BadInput(f"--max-minutes must be more than 0, not {parsed.max_minutes:g}.")
    if parsed.max_steps is None and parsed.max_minutes is None:
        raise BadInput("Say when to stop: --max-steps N or --max-minutes M (Ctrl-C saves and ends at any time).")
    if parsed.max_steps is not None and given.get("lr_scheduler", "constant_with_warmup") != "constant_with_warmup":
        given.setdefault("lr_total_steps", parsed.max_steps)
    if parsed.resume:
        if not run.exists:
            raise BadInput(f"{run.path} holds no run to resume; leave --resume out to start one.")
        config = resumed_config(run, given)
        changed = [name for name, value in given.items() if value != getattr(config, name)]
        if changed:
            raise BadInput(
                f"A run keeps the settings that it began with; leave out --{changed[0].replace('_', '-')}, or start a new run."
            )
    elif "data" not in given:
        raise BadInput("Say what to train on: --data DIR or --data PICTURES.zip.")
    else:
        config = config_of(given)

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
                self.bar.write(
                    f"training {event.parameters / 1e6:.2f} M parameters on {event.device} in {event.precision}, {where}"
                )
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
