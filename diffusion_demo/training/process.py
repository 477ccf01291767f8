"""Training in a detached subprocess, which runs the public command line and is controlled through the run folder."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

import psutil

from diffusion_demo.atomic import atomic_write
from diffusion_demo.paths import CHECKOUT
from diffusion_demo.training.run_folder import COMMANDS, RunFolder
from diffusion_demo.validation import read_regular

LOG, SETTINGS = "trainer.log", "settings.json"
# The token of huggingface_hub under its names, the login of the page, and what a Space gets to log visitors in.
SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "DIFFUSION_DEMO_LOGIN", "OAUTH_CLIENT_SECRET")


def launch(run: RunFolder, arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start `python -m diffusion_demo train ARGUMENTS` in a new session, so that it outlives this process.

    Its output goes to trainer.log in the run folder.
    """
    run.path.mkdir(parents=True, exist_ok=True)
    with (run.path / LOG).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "diffusion_demo", "train", *arguments],
            cwd=CHECKOUT or run.path,  # `python -m` looks for the package in the working directory first
            env=without_tokens(os.environ) | {"PYTHONUNBUFFERED": "1"},
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
    """Start a new run with these settings of TrainConfig. The trainer reads them from a file and validates them.

    They may come from a visitor of the page, so they are never part of the argument list, where a value could pass for
    an option.
    """
    run.path.mkdir(parents=True, exist_ok=True)
    file = run.path / SETTINGS
    atomic_write(file, json.dumps(settings, indent=2) + "\n")
    return launch(run, ["--run", str(run.path), "--config", str(file), "--max-minutes", f"{max_minutes:g}"])


def resume(run: RunFolder, max_minutes: float) -> subprocess.Popen[bytes]:
    """Continue a run with the settings that it began with."""
    return launch(run, ["--run", str(run.path), "--resume", "--max-minutes", f"{max_minutes:g}"])


def make_arguments(settings: dict[str, Any]) -> list[str]:
    """Return settings of TrainConfig as options of `train`, for a person to read and repeat."""
    arguments = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            text = ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
            arguments += [f"--{flag}={text}"] if text.startswith("-") else [f"--{flag}", text]
    return arguments


def is_running(run: RunFolder) -> bool:
    """Return whether a trainer process of this run exists, even if it is still loading or already ending."""
    arguments = ["diffusion_demo", "train", "--run", str(run.path)]
    return any(_contains(process.info["cmdline"] or [], arguments) for process in psutil.process_iter(["cmdline"]))


def _contains(command_line: list[str], arguments: list[str]) -> bool:
    return any(command_line[i : i + len(arguments)] == arguments for i in range(len(command_line)))


def send_command(run: RunFolder, command: str) -> None:
    """Request stop (save and end), sample_now or save_now, which the trainer does after the current step."""
    if command not in COMMANDS:
        raise ValueError(f"command must be one of {', '.join(COMMANDS)}, not {command!r}")
    with run.control_file.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"type": command}) + "\n")


def last_log_line(run: RunFolder) -> str:
    """Return the last nonempty line that the trainer printed, such as the reason why it did not start; or ""."""
    try:
        text = read_regular(run.path / LOG).decode(errors="replace")
    except OSError:
        return ""
    lines = text.replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
