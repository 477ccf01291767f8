"""The README tells the truth: its code runs, its map is fresh."""

import re
import subprocess
import sys

from scripts.equation_map import BEGIN, END, README, rows, table
from tests.conftest import ROOT

README_TEXT = README.read_text(encoding="utf-8")


def library_code():
    found = re.search(r"<!-- library -->\s*```python\n(.*?)```", README_TEXT, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_library_example_trains_samples_and_measures_without_page_accelerate_or_diffusers(tmp_path):
    loaded = (
        "\nimport sys; print('loaded', [name for name in ('gradio', 'accelerate', 'diffusers') if name in sys.modules])"
    )
    line = [sys.executable, "-c", library_code() + loaded]
    done = subprocess.run(
        line,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "loaded []" in done.stdout and "step 20 of 20" in done.stdout
    found = re.search(r"bits/dim: tensor\(([\d.]+)\)", done.stdout)
    assert found is not None
    bits = float(found[1])
    assert 0.5 < bits < 6, "above the half bit that 256 grays over 16 pixels hold, below what pixels alone would cost"
    assert not list(tmp_path.iterdir())


def test_the_library_example_is_short():
    assert len([line for line in library_code().splitlines() if line.strip()]) <= 25


def test_the_equation_map_is_what_the_docstrings_say():
    assert README_TEXT.partition(BEGIN)[2].partition(END)[0].strip() == table(), "run python -m scripts.equation_map"


def test_every_equation_is_tested():
    assert len(rows()) > 40
    assert not [row.function for row in rows() if not row.tests]
