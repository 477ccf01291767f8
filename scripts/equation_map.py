"""Generate docs/equations.md from docstrings: `python -m scripts.equation_map`.

Each row is a public function of diffusion_demo/diffusion whose docstring cites its source; the first sentence of the
docstring describes it. The last two columns are the test files that use it, and where the page shows it, according to
the constants SHOWS of the tabs and of the lessons.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "equations.md"
INTRODUCTION = """# Equation map

Which function implements which equation of which paper, which tests use it, and where the page shows it. Generated from
the docstrings by `python -m scripts.equation_map`; a test fails if it is stale. `python -m scripts.mutations` plants
typical mistakes in these functions and elsewhere, one at a time; each must make a test fail.
"""
PAPER = r"(?:Improved DDPM|DDPM|ADM|DDIM|[A-Z][\w-]+(?: et al\.| and [A-Z]\w+)? \d{4}(?: \([\w-]+\))?)"
PLACE = r"(?:Eq\.|Algorithm|section|Figure|Table|appendix) [\w.]*\w(?:(?:,| and) \d+)*"
SOURCE = re.compile(rf"{PAPER}(?:,? {PLACE}(?: and {PLACE})?)?")
# Modules in the order in which the map lists them; modules that are not named here come first.
READING_ORDER = [
    "schedules",
    "timesteps",
    "process",
    "denoiser",
    "losses",
    "likelihood",
    "samplers",
    "flow",
    "reconstruction",
    "guidance",
    "oracles",
]


class Row(NamedTuple):
    """A row of the map; `tests` are names of test files, `page` are places on the page."""

    what: str
    sources: list[str]
    function: str
    file: str
    tests: list[str]
    page: list[str]


def rows() -> list[Row]:
    """Return a row for every function that cites a source, in the order of modules and lines."""
    tests, page = _tests_by_name(), _places_by_name()
    found = []
    for path in sorted((ROOT / "diffusion_demo" / "diffusion").glob("*.py"), key=_reading_order):
        for name, node in _public_definitions(ast.parse(path.read_text(encoding="utf-8"))):
            docstring = " ".join((ast.get_docstring(node) or "").split())
            sources = [s for s in SOURCE.findall(docstring) if re.search(r"\d{4}|Eq|Alg|sec|Fig|Tab|app", s)]
            if sources:
                last = name.rpartition(".")[2]
                file = path.relative_to(ROOT).as_posix()
                found.append(Row(_first_sentence(docstring), sources, name, file, sorted(tests[last]), page[last]))
    return found


def table() -> str:
    """Return the map as a Markdown table."""
    lines = ["| what | source | function | tests | on the page |", "|---|---|---|---|---|"]
    for row in rows():
        function = f"[`{row.function}`](../{row.file})"
        what, sources = row.what.replace("|", "\\|"), "; ".join(row.sources)
        lines.append(f"| {what} | {sources} | {function} | {', '.join(row.tests)} | {', '.join(row.page)} |")
    return "\n".join(lines)


def _reading_order(path: Path) -> int:
    return READING_ORDER.index(path.stem) if path.stem in READING_ORDER else -1


def _public_definitions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Yield the public functions and classes, and the methods as Class.method, with their nodes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield node.name, node
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and not item.name.startswith("_"):
                    yield f"{node.name}.{item.name}", item


def _first_sentence(docstring: str) -> str:
    return re.split(r"(?<![. ])(?<!et al)\.(?= |$)", docstring, maxsplit=1)[0].strip()


def _tests_by_name() -> dict[str, set[str]]:
    """Return, for each name, the test files in which a function uses it."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "tests" / "diffusion").glob("test_*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Attribute):
                        found[node.attr].add(path.stem)
                    elif isinstance(node, ast.Name):
                        found[node.id].add(path.stem)
    return found


def _places_by_name() -> dict[str, list[str]]:
    """Return, for each name, where the page shows it. Parses the constants SHOWS, because importing needs Gradio."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "diffusion_demo" / "ui").glob("*/*.py")):
        if path.name not in ("tab.py", "lesson_functions.py"):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SHOWS":
                tab = path.parent.name.capitalize()
                for name, where in ast.literal_eval(node.value).items():
                    found[name].append(f"{tab}: {where}")
    return found


def page() -> str:
    """Return the text of docs/equations.md."""
    return f"{INTRODUCTION}\n{table()}\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
