"""Imports go one way, from the plugin down through the subpackages; none knows one beside it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import pytest_gilknock

PACKAGE = Path(pytest_gilknock.__file__).parent
SRC = Path(__file__).parents[1] / "src"

# From the bottom up. A module imports from its own folder and from steps below its own.
STEPS = [
    {"_core", "atomic_file", "options"},
    {"model"},
    {"render"},
    {"baseline"},
    {"measurement", "reporting"},
    {"gate"},
    {"settings"},
    {"session", "api", "knockknock", "cli"},
    {"plugin"},
]
STEP_OF = {folder: step for step, folders in enumerate(STEPS) for folder in folders}
WITHOUT_PYTEST = ("model", "render", "baseline", "atomic_file", "cli")
MOST_FLOORS = 9

MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.parent != PACKAGE or path.stem not in ("__init__", "__main__")
}


def folder_of(module: str) -> str:
    return module.partition(".")[0]


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports, be it at its top or within a function; not what types alone need."""
    path = PACKAGE.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped.update(child for statement in node.body for child in ast.walk(statement))
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
            found.add(node.module or "")
    return frozenset(found)


def own_imports(module: str) -> set[str]:
    names = {name.removeprefix("pytest_gilknock.") for name in imports(module)}
    return names & (MODULES | {"_core"}) - {module}


def floor_of(module: str, above: tuple[str, ...] = ()) -> int:
    """The number of modules on the longest way down, this one included."""
    assert module not in above, f"a circle: {' > '.join([*above, module])}"
    below = own_imports(module) - {"_core"}
    return 1 + max((floor_of(name, (*above, module)) for name in below), default=0)


def test_every_module_has_its_step():
    assert {folder_of(module) for module in MODULES} <= STEP_OF.keys()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_from_its_folder_and_from_below(module):
    folder = folder_of(module)
    for name in own_imports(module):
        below = STEP_OF[folder_of(name)] < STEP_OF[folder]
        assert below or (folder_of(name) == folder and "." in module), name


def test_the_house_has_few_floors_and_no_circle():
    floors = {module: floor_of(module) for module in MODULES}
    assert max(floors.values()) <= MOST_FLOORS, sorted(floors, key=floors.__getitem__)[-10:]


@pytest.mark.parametrize("folder", WITHOUT_PYTEST)
def test_what_is_pure_knows_neither_pytest_nor_the_core(folder):
    for module in MODULES:
        if folder_of(module) == folder:
            roots = {name.partition(".")[0] for name in imports(module)}
            assert not roots & {"pytest", "_pytest"}, module
            assert "_core" not in own_imports(module), module


INTERNALS = re.compile(r"\b(PY_VERSION_HEX|Py_BUILD_CORE|Py_GIL_DISABLED|pycore_\w+)\b")


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.[ch]")), ids=lambda path: path.name)
def test_versions_of_cpython_are_known_in_their_folder_alone(path):
    text = path.read_text(encoding="utf-8")
    if path.parent.name != "cpython":
        assert not INTERNALS.search(text)
    if path.parent.name == "native":
        assert "Python.h" not in text
