"""The README and docs/ tell the truth: code runs, commands parse, links lead somewhere, the equation map is fresh."""

import re
import shlex
import subprocess
import sys

import pytest

from diffusion_demo import cli
from scripts.equation_map import PAGE, page, rows
from scripts.readme_images import IMAGES, MAX_BYTES
from tests.conftest import ROOT

README = ROOT / "README.md"
README_TEXT = README.read_text(encoding="utf-8")
DOCS = sorted((ROOT / "docs").glob("*.md"))
COMMANDS = "sample|train|queue|evaluate|import|export|deploy"
PAGES = [README, *DOCS, *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"))]


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
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m scripts.equation_map"
    assert {"Inspect: schedules", "Inspect: guidance"} <= set(re.findall(r"Inspect: \w+", page()))


def test_every_equation_is_tested():
    assert len(rows()) > 40
    assert not [row.function for row in rows() if not row.tests]


def links(path):
    """Return the relative targets of the links and images of a page."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    return [target for target in targets if not target.startswith(("https:", "http:", "mailto:"))]


def anchors(path):
    """Return the anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_to_a_file_and_a_heading(path):
    for target in links(path):
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_every_file_that_contributors_are_sent_to_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    files = re.findall(r"`([\w./]+/[\w.]*)`", text)
    assert len(files) > 25 and not [file for file in files if not (ROOT / file).exists()]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_module_that_is_named_exists(path):
    folders = ("diffusion_demo", "tests", "scripts", "benchmarks")
    files = [f"/{file.relative_to(ROOT).as_posix()}" for folder in folders for file in (ROOT / folder).rglob("*.*")]
    named = set(re.findall(r"`([\w/]+\.(?:py|js|css|html))`", path.read_text(encoding="utf-8"))) - {"app.py"}
    assert not [name for name in named if not any(file.endswith(f"/{name}") for file in files)]


def test_the_readme_is_short_shows_the_page_first_and_leads_to_every_page_of_the_docs():
    lines = README_TEXT.splitlines()
    assert len(lines) <= 180
    assert {path.relative_to(ROOT).as_posix() for path in DOCS} <= set(links(README))
    first_screen = "\n".join(lines[:40])
    assert ".png" in first_screen and ".webp" in first_screen
    assert 0 < sum(path.stat().st_size for path in IMAGES.iterdir()) <= MAX_BYTES


def commands():
    """Return every indented command line of this package in the README and the docs."""
    found = []
    for path in [README, *DOCS]:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        found += re.findall(rf"^    .*?(?:diffusion-demo|-m diffusion_demo) ((?:{COMMANDS})\b.*)$", text, re.MULTILINE)
    return found


@pytest.mark.parametrize("line", commands())
def test_every_documented_command_parses(line):
    cli._parser("diffusion-demo").parse_args(shlex.split(line))


def test_commands_are_documented_at_all():
    assert {line.split()[0] for line in commands()} == set(COMMANDS.split("|"))
