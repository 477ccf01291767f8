"""Which room may import which, read from the source; and what a fresh process has loaded."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "diffusion_demo"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imports_of(path):
    """Every module that a file imports anywhere in it, as dotted names; `from a import b` counts as a and as a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).with_suffix("").parts[: -node.level] if node.level else ()
            module = ".".join([*package, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def offenders(paths, forbidden):
    return sorted(
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in imports_of(path)
        if any(name == bad or name.startswith(f"{bad}.") for bad in forbidden)
    )


def room(name):
    return [path for path in SOURCES if path == PACKAGE / f"{name}.py" or path.is_relative_to(PACKAGE / name)]


def test_the_mathematics_imports_only_torch_numpy_the_standard_library_and_itself():
    allowed = {"torch", "numpy", *sys.stdlib_module_names}
    wrong = [
        f"{path.name} imports {name}"
        for path in room("diffusion")
        for name in imports_of(path)
        if not name.startswith("diffusion_demo.diffusion") and name.split(".")[0] not in allowed
    ]
    assert room("diffusion") and not wrong


def test_the_mathematics_prints_nothing_and_opens_no_file():
    for path in room("diffusion"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
        assert not called & {"print", "open", "input", "exec", "eval"}, path


# Each folder may import itself, the folders named here, and the small modules that every folder may.
SMALL = ("atomic", "errors", "images", "paths", "untrusted_files", "validation")
MAY_IMPORT = {
    "diffusion": [],
    "runtime": [],
    "data": ["runtime"],
    "models": ["diffusion"],
    "sampling": ["diffusion", "runtime", "data", "models"],
    "training": ["diffusion", "runtime", "data", "models", "sampling"],
    "evaluation": ["diffusion", "runtime", "data", "models", "sampling"],
    "hub": ["diffusion", "runtime", "data", "models", "sampling", "training"],
    "cli": ["diffusion", "runtime", "data", "models", "sampling", "training", "evaluation", "hub"],
    "ui": ["diffusion", "runtime", "data", "models", "sampling", "training", "hub", "cli"],
}


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_arrows_point_one_way_only(name):
    forbidden = sorted(set(MAY_IMPORT) - {name, *MAY_IMPORT[name]})
    assert room(name) and not offenders(room(name), [f"diffusion_demo.{other}" for other in forbidden])


def test_every_folder_has_its_place_in_the_order():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(MAY_IMPORT)
    assert {path.stem for path in PACKAGE.glob("*.py")} == {*SMALL, "__init__", "__main__"}


def test_no_modules_import_each_other_in_a_circle_even_inside_functions():
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES}
    graph = {name: {other for other in imports_of(path) if other in names} - {name} for name, path in names.items()}
    for name, path in names.items():  # `from package import module` runs the package, which its modules do not wait for
        if path.name != "__init__.py":
            graph[name] -= {name.rpartition(".")[0]}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_only_the_page_imports_gradio():
    assert not offenders([path for path in SOURCES if path not in room("ui")], ["gradio"])


def test_only_the_training_loop_imports_accelerate():
    allowed = [PACKAGE / "training" / name for name in ("distributed.py", "tracking.py", "trainer.py")]
    assert not offenders([path for path in SOURCES if path not in allowed], ["accelerate"])
    assert all(offenders([path], ["accelerate"]) for path in allowed)


def test_nothing_unpickles():
    calls = [
        (path.name, ast.unparse(node.func))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]
    assert not offenders(SOURCES, ["pickle"])
    assert [call for call in calls if call[1] in ("torch.load", "torch.save")] == [("file.py", "torch.load")]
    assert "weights_only=True" in (PACKAGE / "models" / "openai" / "file.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("diffusion_demo", ["torch", "gradio", "diffusers", "accelerate", "numpy"]),
        ("diffusion_demo.models.load_metadata", ["torch", "gradio", "diffusers", "accelerate"]),
        ("diffusion_demo.cli", ["torch", "gradio", "diffusers", "accelerate"]),
        ("diffusion_demo.sampling.comparison", ["torch", "gradio", "diffusers", "accelerate"]),
        ("diffusion_demo.diffusion.samplers", ["gradio", "diffusers", "accelerate"]),
        ("diffusion_demo.sampling.generate", ["gradio"]),
        ("diffusion_demo.training.loop", ["gradio"]),
    ],
)
def test_a_fresh_process_loads_no_more_than_it_needs(module, absent):
    report = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_waiting_threads_sleep_by_default():
    lines = ["import os", "os.environ.pop('OMP_WAIT_POLICY', None)", "import diffusion_demo"]
    report = "; ".join([*lines, "print(os.environ['OMP_WAIT_POLICY'])"])
    done = subprocess.run([sys.executable, "-c", report], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "PASSIVE"
