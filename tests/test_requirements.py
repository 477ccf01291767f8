"""requirements.txt alone is enough: installed into an environment of its own, app.py starts as on a Space."""

import os
import subprocess
import sys

import pytest

from tests.browser.servers import ON_A_SPACE, Visitor, serving


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_requirements_alone_start_the_page_of_a_space(tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", "requirements.txt"], check=True)
    monkeypatch.setattr(sys, "executable", str(python))
    with serving(tmp_path, ON_A_SPACE) as server:
        visitor = Visitor(server.url)
        assert visitor.sample().succeeded
        assert "16" in (visitor.sample(images=17).error or "")
    loaded = subprocess.run([python, "-c", "import sklearn"], capture_output=True, text=True)
    assert "ModuleNotFoundError" in loaded.stderr, "nothing but the requirements is there"
