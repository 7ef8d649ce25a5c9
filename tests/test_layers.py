"""Imports go one way: what judges and shows readings knows neither pytest nor its callers."""

import ast
from pathlib import Path

import pytest

import pytest_gilknock

PACKAGE = Path(pytest_gilknock.__file__).parent

# From the bottom up: a module imports only from layers below its own.
LAYERS = [
    {
        "_core",
        "model.wire",
        "model.units",
        "model.statistics",
        "model.machine",
        "model.stack",
        "model.stalls",
        "reporting.compact_list",
    },
    {"render.format", "atomic_file", "model.blame", "measurement.tracebacks"},
    {"model.reading", "model.metrics"},
    {"model.limits", "model.trace", "baseline.model", "reporting.github"},
    {"render.places", "measurement.markers", "gate.expression", "baseline.codec", "options"},
    {"render.reading_text"},
    {
        "reporting.results",
        "reporting.file_report",
        "api",
        "knockknock",
        "gate.compare",
        "baseline.storage",
        "baseline.environment",
    },
    {"reporting.terminal", "reporting.export", "gate.settings"},
    {"gate.text", "gate.io", "measurement.settings"},
    {
        "gate.formats",
        "reporting.export",
        "reporting.file_reports.json",
        "reporting.file_reports.github_action_benchmark",
    },
    {"baseline.table"},
    {"measurement.transport", "cli"},
    {"measurement.stalls"},
    {
        "measurement.meter",
        "reporting.reporter",
        "reporting.github_annotator",
        "gate.checker",
    },
    {"gate.retries"},
    {"gate.reporter"},
    {"gate.setup"},
    {"session"},
    {"plugin"},
]
PURE = {
    *(
        "render.format",
        "atomic_file",
        "reporting.compact_list",
        "model.units",
        "model.statistics",
        "model.machine",
        "model.metrics",
        "model.reading",
        "model.limits",
        "model.trace",
    ),
    *(
        "render.reading_text",
        "reporting.results",
        "reporting.terminal",
        "reporting.file_reports.json",
    ),
    *(
        "baseline.model",
        "baseline.codec",
        "gate.expression",
        "gate.compare",
        "baseline.storage",
        "baseline.environment",
        "gate.io",
    ),
    *(
        "gate.text",
        "gate.formats",
        "baseline.table",
        "reporting.github",
        "reporting.file_reports.github_action_benchmark",
        "reporting.file_report",
        "reporting.export",
        "cli",
    ),
}


def imports(module: str, *, typing_too: bool) -> set[str]:
    tree = ast.parse((PACKAGE / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
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
    modules = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if path.stem not in ("__init__", "__main__")
    }
    assert modules | {"_core"} == set().union(*LAYERS)


@pytest.mark.parametrize("layer", range(1, len(LAYERS)))
def test_a_module_imports_only_from_below(layer):
    below = set().union(*LAYERS[:layer])
    known = set().union(*LAYERS)
    for module in LAYERS[layer]:
        own = {
            name.removeprefix("pytest_gilknock.")
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
