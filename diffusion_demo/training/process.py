"""Training in a detached subprocess, which runs the public command line and is controlled through the run folder."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from diffusion_demo.atomic import atomic_write
from diffusion_demo.paths import CHECKOUT
from diffusion_demo.training.pending_commands import run_state_at_command
from diffusion_demo.training.run_folder import COMMANDS, RunFolder
from diffusion_demo.untrusted_files import check_regular, read_regular

LOG, SETTINGS = "trainer.log", "settings.json"
PROGRAMS = ("diffusion_demo", "diffusion-demo", "diffusion-demo.exe")  # before "train" in a command line
# The token of huggingface_hub under its names, the login of the page, and what a Space gets to log visitors in.
SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "DIFFUSION_DEMO_LOGIN", "OAUTH_CLIENT_SECRET")


def launch(run: RunFolder, arguments: list[str], variables: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start `python -m diffusion_demo train ARGUMENTS` in a new session, so that it outlives this process.

    Its output goes to trainer.log in the run folder. `variables` are added to its environment.
    """
    run.path.mkdir(parents=True, exist_ok=True)
    with (run.path / LOG).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "diffusion_demo", "train", *arguments],
            cwd=CHECKOUT or run.path,  # `python -m` looks for the package in the working directory first
            env=without_tokens(os.environ) | {"PYTHONUNBUFFERED": "1", **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # A child that nobody waits for stays a zombie after its end.
    threading.Thread(target=child.wait, name=f"wait for {run.path.name}", daemon=True).start()
    return child


def without_tokens(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the secrets of the page.

    The trainer reads images of visitors, and needs none of them; models on the Hub are in the cache by then.
    """
    return {name: value for name, value in environment.items() if name not in SECRETS}


def start(run: RunFolder, settings: dict[str, Any], max_minutes: float) -> subprocess.Popen[bytes]:
    """Start a new run with these settings of TrainConfig."""
    write_settings(run, settings)
    return launch(run, [*start_arguments(run), *budget_arguments(max_minutes, None)])


def write_settings(run: RunFolder, settings: dict[str, Any]) -> None:
    """Write settings of TrainConfig into the folder of a new run. The trainer reads them there and validates them.

    They may come from a visitor of the page, so they are never part of the argument list, where a value could pass for
    an option.
    """
    run.path.mkdir(parents=True, exist_ok=True)
    atomic_write(run.path / SETTINGS, json.dumps(settings, indent=2) + "\n")


def start_arguments(run: RunFolder) -> list[str]:
    """Return the arguments of `train` for a new run with the settings in its folder."""
    return ["--run", str(run.path), "--config", str(run.path / SETTINGS)]


def resume_arguments(run: RunFolder) -> list[str]:
    """Return the arguments of `train` that continue a run with the settings that it began with."""
    return ["--run", str(run.path), "--resume"]


def budget_arguments(max_minutes: float | None, max_steps: int | None) -> list[str]:
    """Return the arguments of `train` that limit its time and steps."""
    minutes = [] if max_minutes is None else ["--max-minutes", f"{max_minutes:g}"]
    return minutes + ([] if max_steps is None else ["--max-steps", str(max_steps)])


def readable_options(settings: dict[str, Any]) -> list[str]:
    """Return settings of TrainConfig as options of `train`, for a person to read and repeat."""
    arguments = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{flag}" if value else f"--no-{flag}")
            continue
        if name == "data" and not isinstance(value, str):
            texts = list(map(str, value))
        else:
            texts = [",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)]
        for text in texts:
            arguments += [f"--{flag}={text}"] if text.startswith("-") else [f"--{flag}", text]
    return arguments


def is_running(run: RunFolder) -> bool:
    """Return whether a trainer process of this run exists, even if it is still loading or already ending."""
    return run.path.resolve() in _running_paths()


def running_names(runs: Path) -> set[str]:
    """Return the names of the runs in this folder that have a trainer process."""
    folder = runs.resolve()
    return {path.name for path in _running_paths() if path.parent == folder}


def _running_paths() -> set[Path]:
    """Return the run folders of all trainer processes, which their command lines name."""
    paths = set()
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "train" in words and any(Path(word).name in PROGRAMS for word in words[: words.index("train")]):
            with suppress(psutil.Error, OSError, ValueError, IndexError, StopIteration):
                place = next(i for i, word in enumerate(words) if word.partition("=")[0] == "--run")
                name = words[place].partition("=")[2] or words[place + 1]
                paths.add(Path(process.cwd(), name).resolve())
    return paths


def send_command(run: RunFolder, command: str) -> None:
    """Request stop (save and end), sample_now or save_now, which the trainer does after the current step.

    Raises OSError if the disk is full, or something other than a file is in the place of control.jsonl.
    """
    if command not in COMMANDS:
        raise ValueError(f"command must be one of {', '.join(COMMANDS)}, not {command!r}")
    check_regular(run.control_file)
    with run.control_file.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"type": command} | run_state_at_command(run.events_file)) + "\n")


def last_log_line(run: RunFolder) -> str:
    """Return the last nonempty line that the trainer printed, such as the reason why it did not start; or ""."""
    try:
        text = read_regular(run.path / LOG).decode(errors="replace")
    except OSError:
        return ""
    lines = text.replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
