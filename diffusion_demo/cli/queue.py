"""python -m diffusion_demo queue"""

import argparse
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffusion_demo.cli import train
from diffusion_demo.errors import BadInput
from diffusion_demo.paths import runs_folder
from diffusion_demo.training import queue
from diffusion_demo.training.queue import Queue
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.run_scheduler import RunScheduler, schedule

HELP = "queue training runs, which start one after the other"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add a subcommand for each action."""
    actions = parser.add_subparsers(required=True, metavar="action", dest="action")
    add = actions.add_parser("add", help="queue a run; takes the options of train, with the name of the run as --run")
    train.add_options(add)
    actions.add_parser("list", help="print the queue in the order in which runs start")
    for name, words in (("remove", "remove a waiting run from the queue"), ("up", "move a waiting run one place up")):
        actions.add_parser(name, help=words).add_argument("name", metavar="NAME", help="Name of the run.")
    actions.add_parser("pause", help="start no further runs; the current one continues")
    actions.add_parser("resume", help="start runs again after a pause")
    actions.add_parser(
        "run", help="start the runs one after the other until the queue is empty; not needed while the web page is open"
    )


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    """Carry out an action and print the queue. Return the exit code."""
    runs = runs_folder().resolve()
    actions: dict[str, Callable[[], Queue]] = {
        "add": lambda: _add(runs, parsed),
        "list": lambda: queue.read_queue(runs),
        "remove": lambda: queue.remove(runs, parsed.name),
        "up": lambda: queue.move_up(runs, parsed.name),
        "pause": lambda: queue.set_paused(runs, True),
        "resume": lambda: queue.set_paused(runs, False),
    }
    if parsed.action == "run":
        return _run_all(runs)
    try:
        _print(actions[parsed.action]())
    except OSError as error:
        raise BadInput(
            f"Cannot write to {runs} ({error.strerror or error}). Free some disk space, or name another folder with "
            "DIFFUSION_DEMO_RUNS."
        ) from error
    return 0


def _add(runs: Path, parsed: argparse.Namespace) -> Queue:
    """Queue a run after the checks that `train` makes before it starts. Raises BadInput."""
    name = str(parsed.run_folder)
    if Path(name).name != name or name.startswith("."):
        raise BadInput(f"Give --run a name, not a path: the run will be in {runs}.")
    train.check_settings_of(parsed, RunFolder(runs / name))
    if parsed.resume:
        if train.given_settings(parsed):
            raise BadInput("A run is continued with its own settings. Leave out all options but the limits.")
        return queue.add_resumed(runs, name, parsed.max_minutes, parsed.max_steps)
    settings: dict[str, Any] = train.given_settings(parsed)
    source = settings["data"]
    if isinstance(source, str) and not os.path.exists(source):  # `given_settings` checks several sources itself
        raise BadInput(f"No file or folder at {source}. Check the path.")
    return queue.add_new(runs, name, settings, parsed.max_minutes, parsed.max_steps)


def _print(content: Queue) -> None:
    if not content.entries:
        print("The queue is empty.")
    for entry in content.started:
        print(f"   {entry.run}: started")
    for place, entry in enumerate(content.waiting, start=1):
        limits = [f"{entry.max_minutes:g} min"] if entry.max_minutes is not None else []
        limits += [f"{entry.max_steps:,} steps"] if entry.max_steps is not None else []
        print(f"{place:2} {entry.run}: {' or '.join(limits) or 'until its schedule ends'}")
    if content.paused:
        print("Paused. Start runs again with `queue resume`.")


def _run_all(runs: Path) -> int:
    from diffusion_demo.runtime.device import num_devices

    if queue.read_queue(runs).paused:
        raise BadInput("The queue is paused. Start it again with `queue resume`.")
    scheduler = RunScheduler(runs, num_devices=num_devices, tell=lambda text: print(text, flush=True))
    if not schedule(scheduler, threading.Event(), until=lambda queue: not queue.entries):
        print("The web page, or another command, is already starting the queued runs.")
    return 0
