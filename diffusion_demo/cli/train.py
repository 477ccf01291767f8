"""python -m diffusion_demo train"""

import argparse
import json
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from diffusion_demo.cli.options import add_setting, given, read_json_object
from diffusion_demo.cli.output_streams import discard_lost_output
from diffusion_demo.errors import BadInput
from diffusion_demo.paths import path_option
from diffusion_demo.training import events
from diffusion_demo.training.config import TrainConfig, check_settings, config_with_inherited
from diffusion_demo.training.process import readable_options
from diffusion_demo.training.run_folder import RunFolder, resolve_init_from

HELP = "train a model on a folder or ZIP file of images"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a call, and one for each field of TrainConfig."""
    parser.add_argument(
        "--run",
        required=True,
        type=path_option,
        dest="run_folder",
        metavar="DIR",
        help="Run folder, new unless --resume.",
    )
    parser.add_argument("--resume", action="store_true", help="Continue the run with its own settings.")
    parser.add_argument("--max-steps", type=int, metavar="N", help="Stop at this many steps in total.")
    parser.add_argument("--max-minutes", type=float, metavar="M", help="Stop this call after this many minutes.")
    parser.add_argument("--json", action="store_true", help="Print events as JSON lines on stdout.")
    parser.add_argument(
        "--config",
        type=path_option,
        metavar="FILE",
        help="JSON file of settings, by name as in a config.json. Options win over it.",
    )
    repeated = {"data": {"action": "append", "type": str, "metavar": "DIR|ZIP"}}
    for name, field in TrainConfig.model_fields.items():
        add_setting(parser, name, field, **repeated.get(name, {}))


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    """Train and print each event. Return the exit code, which is 1 if the run failed."""
    run = RunFolder(parsed.run_folder)
    config = check_settings_of(parsed, run)

    from diffusion_demo.training.loop import Budget, train

    command = shlex.join(["python", "-m", "diffusion_demo", *_with_settings_as_options(parsed.config, arguments)])
    show = _Output(_print_json if parsed.json else _Terminal())
    failed = False
    for event in train(config, run, Budget(parsed.max_steps, parsed.max_minutes), parsed.resume, command):
        show(event)
        failed = failed or isinstance(event, events.Failed)
    return 1 if failed else 0


def check_settings_of(parsed: argparse.Namespace, run: RunFolder) -> TrainConfig:
    """Return the config of a new or a resumed run. Raises BadInput for options that are missing or conflict."""
    from diffusion_demo.training.resumed_config import resumed_config

    settings = given_settings(parsed)
    _check_limits(parsed)
    if parsed.max_steps is not None and settings.get("lr_scheduler", "constant_with_warmup") != "constant_with_warmup":
        settings.setdefault("lr_total_steps", parsed.max_steps)
    if not parsed.resume:
        if "data" not in settings:
            raise BadInput("There are no training images. Name them with --data DIR or --data IMAGES.zip.")
        return _check_end(parsed, config_with_inherited(settings))
    if not run.exists:
        raise BadInput(f"{run.path} contains no run to resume. Leave out --resume to start one.")
    config = resumed_config(run, settings)
    changed = [name for name, value in settings.items() if value != getattr(config, name)]
    if changed:
        flag = f"--{changed[0].replace('_', '-')}"
        raise BadInput(f"{flag} cannot change in a run that has started. Leave it out, or start a new run.")
    return _check_end(parsed, config)


def given_settings(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of TrainConfig that were given on the command line, with absolute paths."""
    from diffusion_demo.data.source import pasted_sources

    settings = (_read_settings(parsed.config) if parsed.config else {}) | given(parsed, TrainConfig.model_fields)
    if "data" in settings:
        paths = tuple(map(str, pasted_sources(_listed(settings["data"]))))
        settings["data"] = paths if len(paths) > 1 else "".join(paths)
    if isinstance(settings.get("init_from"), str):
        settings["init_from"] = resolve_init_from(settings["init_from"])
    return settings


def _listed(data: str | Iterable[str]) -> Iterable[str]:
    return [data] if isinstance(data, str) else data


def _read_settings(file: Path) -> dict[str, Any]:
    """Return the settings in a JSON file, each with the type of its field. Raises BadInput."""
    settings = read_json_object(file, "Check the file.")
    check_settings(settings)
    return settings


def _with_settings_as_options(config_file: Path | None, arguments: list[str]) -> list[str]:
    """Return the arguments of this call with the settings of its file written out as options."""
    if not config_file:
        return arguments
    settings = readable_options(_read_settings(config_file))
    place = next((i for i, word in enumerate(arguments) if word == "--config"), None)
    if place is not None:
        return [*arguments[:place], *settings, *arguments[place + 2 :]]
    return [word for word in arguments if not word.startswith("--config=")] + settings


def _check_limits(parsed: argparse.Namespace) -> None:
    if parsed.max_steps is not None and parsed.max_steps < 1:
        raise BadInput(f"--max-steps must be at least 1, not {parsed.max_steps}.")
    if parsed.max_minutes is not None and not parsed.max_minutes > 0:
        raise BadInput(f"--max-minutes must be more than 0, not {parsed.max_minutes:g}.")


def _check_end(parsed: argparse.Namespace, config: TrainConfig) -> TrainConfig:
    """Return `config`. Raises BadInput if nothing ends the call: neither a limit nor the learning-rate schedule."""
    if parsed.max_steps is None and parsed.max_minutes is None and config.lr_total_steps is None:
        raise BadInput(
            "This run has no limit. Add --max-steps N or --max-minutes M, or a schedule with --lr-total-steps N. "
            "Ctrl-C saves and stops it at any time."
        )
    return config


def _print_json(event: events.Event) -> None:
    print(json.dumps(event.to_json()), flush=True)


class _Output:
    """Printer of events. It stops when the terminal or the pipe is lost; training continues."""

    def __init__(self, show: Callable[[events.Event], None]):
        self._show: Callable[[events.Event], None] | None = show

    def __call__(self, event: events.Event) -> None:
        if self._show:
            try:
                self._show(event)
            except (OSError, ValueError):  # closed pipe, lost terminal, or full disk behind a redirection
                self._show = None
                discard_lost_output()


class _Terminal:
    """A tqdm bar of the steps, with the other events as lines above it."""

    def __init__(self) -> None:
        self.bar = tqdm(disable=True)

    def __call__(self, event: events.Event) -> None:
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
            case events.Warned():
                self.bar.write(event.message)
            case events.Failed():
                self.bar.close()
                print(event.message)
            case events.Finished():
                self.bar.close()
                print(f"finished at step {event.step} ({event.reason.replace('_', ' ')})")
