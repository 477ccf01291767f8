"""python -m diffusion_demo train"""

import argparse
import json
import shlex
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin

from diffusion_demo.errors import BadInput
from diffusion_demo.paths import pasted_path

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from diffusion_demo.training.config import TrainConfig
    from diffusion_demo.training.run_folder import RunFolder

HELP = "train a model on a folder or ZIP file of images"


def _decays(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a call, and one for each field of TrainConfig."""
    from diffusion_demo.training.config import TrainConfig

    parser.add_argument(
        "--run", required=True, dest="run_folder", metavar="DIR", help="Run folder, new unless --resume."
    )
    parser.add_argument("--resume", action="store_true", help="Continue the run with the settings that it began with.")
    parser.add_argument("--max-steps", type=int, metavar="N", help="Stop at this many steps in all.")
    parser.add_argument("--max-minutes", type=float, metavar="M", help="Stop this call after this many minutes.")
    parser.add_argument("--json", action="store_true", help="Print events as JSON lines on stdout.")
    for name, field in TrainConfig.model_fields.items():
        _add_setting(parser, name, field)


def _add_setting(parser: argparse.ArgumentParser, name: str, field: "FieldInfo") -> None:
    from diffusion_demo.validation import choices_of, range_of

    flag, kind = f"--{name.replace('_', '-')}", _type_of(field)
    limits = []
    if choices := choices_of(field):
        limits.append(f"one of {', '.join(map(str, choices))}")
    elif kind in (int, float) and None not in (bounds := range_of(field)):
        limits.append(" to ".join(f"{bound:,}" if isinstance(bound, int) else f"{bound:g}" for bound in bounds))
    if field.default is not None and not field.is_required():
        default = ",".join(map(str, field.default)) if kind is tuple else field.default
        limits.append(f"default: {default}")
    words = (field.description or "").replace("%", "%%") + (f" ({'; '.join(limits)})" if limits else "")
    if kind is bool:
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=words)
    else:
        metavar = {int: "N", float: "X", tuple: "X,X"}.get(kind, "NAME")
        parser.add_argument(flag, type=_decays if kind is tuple else kind, metavar=metavar, help=words)


def _type_of(field: "FieldInfo") -> Any:
    """Return int, float, bool, str or tuple: the type of a field, None aside."""
    kinds = [kind for kind in get_args(field.annotation) if kind is not NoneType]
    if get_origin(field.annotation) is tuple:
        return tuple
    return kinds[0] if kinds else field.annotation or str


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    """Train, printing each event. Return the exit code: 1 where the run failed."""
    from diffusion_demo.training.run_folder import RunFolder

    run = RunFolder(parsed.run_folder)
    config = _config(parsed, run)

    from diffusion_demo.training.events import Failed
    from diffusion_demo.training.loop import Budget, train

    command = shlex.join(["python", "-m", "diffusion_demo", *arguments])
    show = _print_json if parsed.json else _Terminal()
    failed = False
    for event in train(config, run, Budget(parsed.max_steps, parsed.max_minutes), parsed.resume, command):
        show(event)
        failed = failed or isinstance(event, Failed)
    return 1 if failed else 0


def _config(parsed: argparse.Namespace, run: "RunFolder") -> "TrainConfig":
    """Return the config of a new or a resumed run. Raises BadInput for options that are missing or conflict."""
    from diffusion_demo.training.config import config_with_inherited
    from diffusion_demo.training.resume import resumed_config

    settings = _settings(parsed)
    _check_budget(parsed)
    if parsed.max_steps is not None and settings.get("lr_scheduler", "constant_with_warmup") != "constant_with_warmup":
        settings.setdefault("lr_total_steps", parsed.max_steps)
    if not parsed.resume:
        if "data" not in settings:
            raise BadInput("Say what to train on: --data DIR or --data IMAGES.zip.")
        return config_with_inherited(settings)
    if not run.exists:
        raise BadInput(f"{run.path} holds no run to resume; leave --resume out to start one.")
    config = resumed_config(run, settings)
    changed = [name for name, value in settings.items() if value != getattr(config, name)]
    if changed:
        flag = f"--{changed[0].replace('_', '-')}"
        raise BadInput(f"A run keeps the settings that it began with; leave out {flag}, or start a new run.")
    return config


def _settings(parsed: argparse.Namespace) -> dict:
    """Return the fields of TrainConfig that were given on the command line."""
    from diffusion_demo.training.config import TrainConfig
    from diffusion_demo.training.run_folder import resolve_init_from

    settings = {name: getattr(parsed, name) for name in TrainConfig.model_fields if getattr(parsed, name) is not None}
    if "data" in settings:
        settings["data"] = str(Path(pasted_path(settings["data"])).resolve())
    if "init_from" in settings:
        settings["init_from"] = resolve_init_from(settings["init_from"])
    return settings


def _check_budget(parsed: argparse.Namespace) -> None:
    if parsed.max_steps is not None and parsed.max_steps < 1:
        raise BadInput(f"--max-steps must be at least 1, not {parsed.max_steps}.")
    if parsed.max_minutes is not None and not parsed.max_minutes > 0:
        raise BadInput(f"--max-minutes must be more than 0, not {parsed.max_minutes:g}.")
    if parsed.max_steps is None and parsed.max_minutes is None:
        raise BadInput("Say when to stop: --max-steps N or --max-minutes M (Ctrl-C saves and ends at any time).")


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
                network = f"{event.parameters / 1e6:.2f} M parameters on {event.device} in {event.precision}"
                self.bar.write(f"training {network}, {where}")
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
