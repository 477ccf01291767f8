"""Imports inside functions: only those that spare a module's users a large library until they need it."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGE = {"torch", "diffusers", "accelerate", "safetensors", "gradio"}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "diffusion_demo").rglob("*.py"))
}


@cache
def tree_of(module):
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def named_in(node):
    """Return the modules that an import statement loads: `from a import b` loads a, and a.b if it is a module."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    inner = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
    return {node.module} | inner


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports_at_start(nodes):
    """Yield the import statements that run when the module is imported."""
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_type_checking(node):
            yield from imports_at_start(ast.iter_child_nodes(node))


def large_libraries(module):
    """Return the large libraries that importing this module loads, its packages and what they import included."""
    loaded, waiting = set(), {module}
    while waiting:
        name = waiting.pop()
        if name not in loaded:
            loaded.add(name)
            waiting |= {name.rpartition(".")[0]} - {""}
            if name in MODULES:
                waiting |= {each for node in imports_at_start(tree_of(name).body) for each in named_in(node)}
    return loaded & LARGE


def lazy_imports(module):
    functions = (node for node in ast.walk(tree_of(module)) if isinstance(node, ast.FunctionDef))
    return [
        node
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "diffusion_demo"
    ]


def test_only_an_import_that_would_load_a_large_library_stands_inside_a_function():
    needless = [
        f"{module}, line {node.lineno}: {ast.unparse(node)}"
        for module in MODULES
        for node in lazy_imports(module)
        if not set().union(*map(large_libraries, named_in(node))) - large_libraries(module)
    ]
    assert not needless


def test_the_rule_sees_large_libraries_through_several_modules():
    assert large_libraries("diffusion_demo.training.loop") >= {"torch", "diffusers", "accelerate"}
    assert large_libraries("diffusion_demo.ui.page") == {"gradio"}
    assert not large_libraries("diffusion_demo.cli")
