"""The trainer as a process of its own: started by the very command that a person would type, and talked to through the run folder."""

import json
import os
import subprocess
import sys
import threading

import psutil

from diffusion_demo.paths import ROOT
from diffusion_demo.training.run_folder import RunFolder

LOG = "trainer.log"
COMMANDS = ("stop", "sample_now", "save_now")


def launch(run: RunFolder, arguments: list[str]) -> subprocess.Popen:
    """Start `python -m diffusion_demo train ARGUMENTS`, which outlives this process; what it prints goes to trainer.log in the run's folder."""
    run.path.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with (run.path / LOG).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "diffusion_demo", "train", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    threading.Thread(
        target=child.wait, name=f"wait for {run.path.name}", daemon=True
    ).start()  # or it would be a zombie at its end
    return child


def make_arguments(run: RunFolder, given: dict, max_minutes: float) -> list[str]:
    """What a person would type after `train` for a new run with these settings of TrainConfig."""
    words = ["--run", str(run.path), "--max-minutes", f"{max_minutes:g}"]
    for name, value in given.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return words


def is_running(run: RunFolder) -> bool:
    """Is there a trainer of this run among the processes, be it still loading or already ending?"""
    words = ["diffusion_demo", "train", "--run", str(run.path)]
    return any(_in_order(words, process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))


def _in_order(words: list[str], line: list[str]) -> bool:
    return any(line[i : i + len(words)] == words for i in range(len(line)))


def send_command(run: RunFolder, word: str) -> None:
    """Ask the run's trainer to stop (it saves and ends), sample_now or save_now, after the step at hand."""
    if word not in COMMANDS:
        raise ValueError(f"a trainer understands {', '.join(COMMANDS)}, not {word!r}")
    with run.control_file.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"type": word}) + "\n")


def last_log_line(run: RunFolder) -> str:
    """The last line that the trainer printed: why it refused, where no event says so."""
    log = run.path / LOG
    if not log.exists():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
