"""Every path runs on a second device that refuses tensors of the CPU: the walks of tests/on_device, each in a process.

The device cannot be unregistered, and in a process that has it `torch.accelerator.is_available()` is true, which would
change what other tests run.
"""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

WALKS = sorted(path.name for path in (ROOT / "tests" / "on_device").glob("walk_*.py"))


@pytest.mark.parametrize("walk", WALKS)
def test_the_walk_on_the_second_device(walk, environment):
    line = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"tests/on_device/{walk}"]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-5000:]


def test_there_are_walks():
    assert WALKS == ["walk_sampling.py", "walk_training.py"]
