"""Commands that talk to a local fake of the Hub."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.hub.fake_hub import fake_hub


@pytest.fixture
def hub():
    with fake_hub() as server:
        yield server


@pytest.fixture
def hub_command(hub, tmp_path):
    """Return a function that runs `python -m diffusion_demo ...` logged in to the fake Hub."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}

    def run(*arguments, **changes):
        line = [sys.executable, "-m", "diffusion_demo", *map(str, arguments)]
        own = environment | {"PYTHONPATH": str(ROOT)} | hub.environment(tmp_path / "hf") | changes
        return subprocess.run(line, cwd=tmp_path, env=own, capture_output=True, text=True, timeout=300)

    return run
