"""The command line in processes that are forked from one that has imported torch, diffusers and Accelerate.

These imports take 3.5 s of CPU time, more than most commands of the tests do. The processes are real ones: they can be
stopped and killed. That `python -m diffusion_demo` starts by itself is tested in tests/cli and tests/test_package.py.
"""

import atexit
import os
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import diffusion_demo.__main__ as program

PRELOADED = [
    "diffusion_demo",  # before torch, because it sets how OpenMP threads wait
    "torch",
    "accelerate",
    "diffusers.models.unets.unet_2d",
    "diffusers.schedulers.scheduling_ddpm",
]


class ForkedCommand:
    """A command that runs in the background, with the part of the interface of subprocess.Popen that the tests use."""

    def __init__(self, arguments: list[str], cwd: Path, environment: dict[str, str]):
        self.args = [program.__file__, *arguments]
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        self._process = ForkServerProcess(target=_run, args=(self.args, str(cwd), environment, *self._outputs))
        _start_server(environment)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        stdout, stderr = (output.read_text(encoding="utf-8") for output in self._outputs)
        return stdout, stderr


def run_command(arguments: list[str], cwd: Path, environment: dict[str, str], timeout: float = 300):
    """Run a command to its end, as subprocess.run does with captured text."""
    command = ForkedCommand(arguments, cwd, environment)
    try:
        stdout, stderr = command.communicate(timeout)
    finally:
        command.kill()
    return subprocess.CompletedProcess(command.args, command.wait(), stdout, stderr)


def _start_server(environment: dict[str, str]) -> None:
    """Start the fork server if it is not running. The libraries that it imports see this environment."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        forkserver.set_forkserver_preload(PRELOADED)
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(args: list[str], cwd: str, environment: dict[str, str], stdout: Path, stderr: Path) -> None:
    assert "accelerate" in sys.modules, "the libraries are imported before the fork"
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, output in ((1, stdout), (2, stderr)):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.argv = args
    try:
        code = program.main()
    finally:
        atexit._run_exitfuncs()  # multiprocessing skips the exit handlers
    sys.exit(code)
