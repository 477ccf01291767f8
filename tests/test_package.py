"""The package as others install it: from a wheel and editable, used outside the repository."""

import json
import os
import re
import socket
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from diffusion_demo.paths import bundled_checkpoint
from diffusion_demo.training.run_folder import resolve_checkpoint
from tests.conftest import ROOT
from tests.test_arrows import SOURCES, imports_of

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


class Installation:
    """A fresh virtual environment that holds this package and borrows every other package from the tests' own."""

    def __init__(self, folder: Path, *package: str):
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / "python"
        self.folder = folder / "elsewhere"
        self.folder.mkdir()
        hidden = ("PYTHONPATH", "DIFFUSION_DEMO_RUNS", "XDG_DATA_HOME")
        self.environment = {name: value for name, value in os.environ.items() if name not in hidden}
        self.environment |= {
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "1000",
            "HOME": str(folder / "home"),
        }
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        line = "import sysconfig; print(sysconfig.get_path('purelib'))"
        own = Path(self.output(self.python, "-c", line).strip())
        # Paths in a .pth file only extend sys.path: the .pth of an editable install among them is not followed.
        (own / "borrowed.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
        options = ["--no-deps", "--no-build-isolation", "--ignore-installed", "--no-index", "-q"]
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", *options, *package]
        subprocess.run(pip, check=True, env=self.environment | {"PIP_NO_WARN_SCRIPT_LOCATION": "1"})

    def output(self, *command) -> str:
        """Return the output of a command that runs outside the repository and must succeed."""
        done = subprocess.run(
            list(map(str, command)), cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def program(self, *arguments) -> str:
        """Return the output of the installed program `diffusion-demo`."""
        return self.output(self.bin / "diffusion-demo", *arguments)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    line = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder]
    subprocess.run([*line, ROOT], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    return Installation(tmp_path_factory.mktemp("installed"), str(wheel))


def test_the_wheel_holds_the_package_with_its_assets_and_checkpoints_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [path for top in ("diffusion_demo", "checkpoints") for path in (ROOT / top).rglob("*") if path.is_file()]
    sources = [path.relative_to(ROOT).as_posix() for path in files if path.parent.name != "__pycache__"]
    expected = {re.sub("^checkpoints/", "diffusion_demo/checkpoints/", name) for name in sources}
    assert expected and {name for name in names if ".dist-info/" not in name} == expected


def test_an_installed_package_finds_its_checkpoints_by_name_and_samples(installed):
    report = json.loads(installed.program("doctor", "--json"))
    assert {"avatars-32", "avatars-64"} <= set(report["checkpoints"])
    code = "import sys, diffusion_demo.cli as cli; print(cli.__file__, 'gradio' in sys.modules)"
    file, has_gradio = installed.output(installed.python, "-c", code).split()
    assert Path(file).is_relative_to(installed.bin.parent) and has_gradio == "False"
    installed.program("sample", "--checkpoint", "avatars-32", "--num-images", 1, "--steps", 2, "--out", "images")
    assert [path.name for path in installed.folder.glob("images/*.png")] == ["seed_00000000.png"]


def test_an_installed_package_runs_as_a_module(installed):
    as_module = installed.output(installed.python, "-m", "diffusion_demo", "--help")
    assert (
        as_module.replace("python -m diffusion_demo", "diffusion-demo").split() == installed.program("--help").split()
    )
    assert (
        installed.program("--version").strip()
        == installed.output(installed.python, "-m", "diffusion_demo", "--version").strip()
    )


def test_an_installed_page_opens_without_a_command_on_a_free_port_and_keeps_its_runs_in_the_folder_of_the_user(
    installed,
):
    code = "import platformdirs; print(platformdirs.user_data_path('diffusion-demo', appauthor=False) / 'runs')"
    runs = installed.output(installed.python, "-c", code).strip()
    line = [installed.bin / "diffusion-demo", "--no-browser"]
    busy = socket.socket()
    with suppress(OSError):  # then another program has the default port
        busy.bind(("127.0.0.1", 7860))
        busy.listen()
    server = subprocess.Popen(line, cwd=installed.folder, env=installed.environment, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        started = server.stdout.readline()
        address = re.search(r"http://[\d.]+:\d+", started)
        assert address is not None and ":7860" not in address[0] and f"Training runs are in {runs}." in started
        with urllib.request.urlopen(f"{address[0]}/config", timeout=30) as answer:
            assert "avatars-32" in answer.read().decode()
    finally:
        server.terminate()
        server.communicate(timeout=30)
        busy.close()
    assert runs in " ".join(installed.program("page", "--help").split()) and str(ROOT) not in runs


TRAIN = """
import sys
from diffusion_demo.training.process import launch
from diffusion_demo.training.run_folder import RunFolder
sys.exit(launch(RunFolder(sys.argv[1]), ["--run", *sys.argv[1:]]).wait())
"""


def test_the_page_of_an_installed_package_can_start_a_trainer(installed, digits, tiny):
    run = installed.folder / "runs" / "mine"
    installed.output(installed.python, "-c", TRAIN, run, "--data", digits, *tiny, "--max-steps", 1)
    assert (run / "checkpoints" / "step_000001" / "model_index.json").is_file()


def test_an_editable_install_uses_the_checkout_and_copies_nothing(tmp_path):
    editable = Installation(tmp_path, "-e", str(ROOT))
    code = "from diffusion_demo import paths; print(paths.CHECKPOINTS); print(paths.runs_folder())"
    assert editable.output(editable.python, "-c", code).splitlines() == [str(ROOT / "checkpoints"), str(ROOT / "runs")]
    assert "diffusion-demo" in editable.program("--help")
    assert not list(editable.bin.parent.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("avatars-32", "avatars-32"),
        ("checkpoints/avatars-32", "avatars-32"),
        ("avatars-32/classifier", "avatars-32/classifier"),
        ("", None),
        ("checkpoints/", None),
        ("..", None),
        ("avatars-32/../../app.py", None),
        ("google/ddpm-cifar10-32", None),
        (str(ROOT / "checkpoints"), None),
    ],
)
def test_a_bundled_checkpoint_has_a_name(name, folder):
    assert bundled_checkpoint(name) == (None if folder is None else ROOT / "checkpoints" / folder)


def test_a_folder_precedes_the_bundled_checkpoint_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_checkpoint("avatars-32") == ROOT / "checkpoints" / "avatars-32"
    (tmp_path / "avatars-32").mkdir()
    assert resolve_checkpoint("avatars-32") == Path("avatars-32")


def requirements(text: str) -> set[str]:
    return {line for line in text.splitlines() if line and not line.startswith("#")}


def test_requirements_txt_repeats_the_dependencies_of_the_package():
    assert requirements((ROOT / "requirements.txt").read_text(encoding="utf-8")) == set(PROJECT["dependencies"])


# Present on ZeroGPU; a tracker of training; installed by those who want the papers' Inception network.
OPTIONAL = {"spaces", "trackio", "torch_fidelity"}
DISTRIBUTIONS = {"PIL": "pillow", "huggingface_hub": "huggingface-hub", "pydantic_core": "pydantic"}


def test_every_package_that_is_imported_is_a_declared_dependency_and_the_other_way_round():
    imported = {name.split(".")[0] for path in SOURCES for name in imports_of(path)}
    imported -= {"diffusion_demo", *sys.stdlib_module_names, *OPTIONAL}
    declared = {re.split(r"[^\w-]", line)[0] for line in PROJECT["dependencies"]}
    needed = {"itsdangerous"}  # by Starlette's SessionMiddleware
    assert {DISTRIBUTIONS.get(name, name) for name in imported} | needed == declared
