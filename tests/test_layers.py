"""Imports go one way: what judges and shows readings knows neither pytest nor its callers."""

import ast
from pathlib import Path

import pytest

import pytest_gilknock

PACKAGE = Path(pytest_gilknock.__file__).parent

# From the bottom up: a module imports only from layers below its own.
LAYERS = [
    {"_core", "raw", "packed", "measures"},
    {"text", "files", "reading", "outlet"},
    {"limits", "baseline", "github"},
    {"failure", "markers", "gate", "baseline_json", "options"},
    {"results", "measuring", "knockknock", "compare", "storage", "origin"},
    {"table", "document", "gate_options"},
    {"compare_table", "gate_files", "settings"},
    {"compare_formats", "benchmark_action"},
    {"baseline_table"},
    {"distributed", "cli"},
    {"handover"},
    {"meter", "reporter", "annotator", "gatekeeper", "gate_reporter"},
    {"retries"},
    {"gate_plugin"},
    {"activation"},
    {"plugin"},
]
PURE = {
    *("text", "files", "packed", "measures", "reading", "limits"),
    *("failure", "results", "table", "document"),
    *("baseline", "baseline_json", "gate", "compare", "storage", "origin", "gate_files"),
    *("compare_table", "compare_formats", "baseline_table", "github", "benchmark_action", "cli"),
}


def imports(module: str, *, typing_too: bool) -> set[str]:
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    found: set[str] = set()
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not typing_too:
            skipped.update(ast.walk(node))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def test_every_module_has_its_layer():
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert modules | {"_core"} == set().union(*LAYERS)


@pytest.mark.parametrize("layer", range(1, len(LAYERS)))
def test_a_module_imports_only_from_below(layer):
    below = set().union(*LAYERS[:layer])
    known = set().union(*LAYERS)
    for module in LAYERS[layer]:
        own = {
            name.split(".")[1]
            for name in imports(module, typing_too=False)
            if name.startswith("pytest_gilknock.")
        }
        assert own & known <= below, module


@pytest.mark.parametrize("module", sorted(PURE))
def test_a_pure_module_knows_neither_pytest_nor_the_core(module):
    assert not [
        name
        for name in imports(module, typing_too=False)
        if name.split(".")[0] in ("pytest", "_pytest") or name.startswith("pytest_gilknock._core")
    ]
