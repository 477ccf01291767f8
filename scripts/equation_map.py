"""The README's equation map, made from the docstrings: `python -m scripts.equation_map` writes it anew.

A row is a public function of diffusion_demo/diffusion whose docstring names its source; its first sentence says what it is. The last two columns
are the test files that call it, and where the page shows it, as the tabs' SHOWS say.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- equation-map -->", "<!-- /equation-map -->"
PAPER = r"(?:Improved DDPM|DDPM|ADM|DDIM|[A-Z][\w-]+(?: et al\.| and [A-Z]\w+)? \d{4}(?: \([\w-]+\))?)"
PLACE = r"(?:Eq\.|Algorithm|section|Figure|Table|appendix) [\w.]*\w(?:(?:,| and) \d+)*"
SOURCE = re.compile(rf"{PAPER}(?:,? {PLACE}(?: and {PLACE})?)?")


class Row(NamedTuple):
    what: str
    sources: list[str]
    function: str
    file: str
    tests: list[str]
    page: list[str]


def rows() -> list[Row]:
    """Every function with a source, in the order of the modules and of their lines."""
    tests, page = _test_files(), _page()
    found = []
    for path in sorted((ROOT / "diffusion_demo" / "diffusion").glob("*.py"), key=_reading_order):
        for name, function in _functions(ast.parse(path.read_text(encoding="utf-8"))):
            docstring = " ".join((ast.get_docstring(function) or "").split())
            sources = [s for s in SOURCE.findall(docstring) if re.search(r"\d{4}|Eq|Alg|sec|Fig|Tab|app", s)]
            if sources:
                last = name.rpartition(".")[2]
                file = path.relative_to(ROOT).as_posix()
                found.append(Row(_first_sentence(docstring), sources, name, file, sorted(tests[last]), page[last]))
    return found


def table() -> str:
    """The map in Markdown."""
    lines = ["| what | source | function | tests | on the page |", "|---|---|---|---|---|"]
    for row in rows():
        function = f"[`{row.function}`]({row.file})"
        cells = (
            row.what.replace("|", "\\|"),
            "; ".join(row.sources),
            function,
            ", ".join(row.tests),
            ", ".join(row.page),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _reading_order(path: Path) -> int:
    order = [
        "schedules",
        "timesteps",
        "process",
        "losses",
        "likelihood",
        "samplers",
        "reconstruction",
        "guidance",
        "oracles",
    ]
    return order.index(path.stem) if path.stem in order else -1


def _functions(tree: ast.Module):
    """The public functions, and methods as Class.method, with their nodes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield node.name, node
            yield from (
                (f"{node.name}.{item.name}", item)
                for item in node.body
                if isinstance(item, ast.FunctionDef) and item.name[0] != "_"
            )


def _first_sentence(docstring: str) -> str:
    return re.split(r"(?<![. ])(?<!et al)\.(?= |$)", docstring, maxsplit=1)[0].strip()


def _test_files() -> dict[str, set[str]]:
    """For each name, the test files in which a test function uses it."""
    found = defaultdict(set)
    for path in sorted((ROOT / "tests" / "diffusion").glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for inner in ast.walk(node):
                    name = (
                        inner.attr
                        if isinstance(inner, ast.Attribute)
                        else inner.id
                        if isinstance(inner, ast.Name)
                        else None
                    )
                    if name:
                        found[name].add(path.stem)
    return found


def _page() -> dict[str, list[str]]:
    """For each name, where the page shows it: the tabs' constants SHOWS, read without loading gradio."""
    found = defaultdict(list)
    for path in sorted((ROOT / "diffusion_demo" / "ui").glob("*/tab.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SHOWS":
                tab = path.parent.name.capitalize()
                for name, where in ast.literal_eval(node.value).items():
                    found[name].append(f"{tab}: {where}")
    return found


def main() -> None:
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
