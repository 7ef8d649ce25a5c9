"""The package's names, which are imported when they are first used."""

import ast
from pathlib import Path

import pytest_gilknock


def test_type_checkers_know_every_public_name():
    tree = ast.parse(Path(pytest_gilknock.__file__).read_text(encoding="utf-8"))
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    assert set(pytest_gilknock.__all__) <= {name.name for node in imports for name in node.names}


def test_a_name_that_was_used_is_listed_once():
    assert pytest_gilknock.GilReading
    assert dir(pytest_gilknock).count("GilReading") == 1
