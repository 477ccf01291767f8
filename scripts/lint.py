"""Check what ruff cannot: `python -m scripts.lint` names long functions and packages, and path checks that may raise.

CI and the pre-commit hooks run it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("diffusion_demo", "scripts", "tests", "benchmarks")
MAX_FUNCTION_LINES = 40
PATH_CHECKS = {"exists": "os.path.exists", "is_dir": "os.path.isdir", "is_file": "os.path.isfile"}
MAX_MATHEMATICS_LINES = 1500  # diffusion_demo/diffusion as a whole: it should be read in one sitting


def long_functions(file: Path) -> Iterator[str]:
    """Yield one sentence for every function in a file that is too long."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield f"{file}:{node.lineno}: {node.name} has {lines} lines, more than {MAX_FUNCTION_LINES}"


def raising_path_checks(file: Path) -> Iterator[str]:
    """Yield one sentence for every call of Path.exists, is_dir and is_file.

    Before Python 3.14 they raise OSError for a name that is too long, and in a folder without access.
    """
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(ast.Attribute(attr=name), args=[], keywords=[]) if name in PATH_CHECKS:
                yield f"{file}:{node.lineno}: {name}() may raise; use {PATH_CHECKS[name]}"


def findings(root: Path = ROOT) -> list[str]:
    """Return one sentence for every function and package that is too long, and for every path check that may raise."""
    found = [
        each for folder in FOLDERS for file in sorted((root / folder).rglob("*.py")) for each in long_functions(file)
    ]
    found += [each for file in sorted((root / "diffusion_demo").rglob("*.py")) for each in raising_path_checks(file)]
    mathematics = (root / "diffusion_demo" / "diffusion").glob("*.py")
    lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in mathematics)
    if lines > MAX_MATHEMATICS_LINES:
        found.append(f"diffusion_demo/diffusion has {lines} lines, more than {MAX_MATHEMATICS_LINES}")
    return found


def main() -> int:
    """Print the findings. Return 1 if there are any."""
    found = findings()
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
