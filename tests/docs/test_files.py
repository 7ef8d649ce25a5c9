"""The keys that docs/reference/files.md lists are those that a file of readings has."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

from pytest_gilknock.model.wire import Kind

PAGE = Path(__file__).parents[2].joinpath("docs", "reference", "files.md").read_text("utf-8")


def rows(heading):
    """The rows of the first table below a line: the names in its left column, and the text."""
    _, _, rest = PAGE.partition(heading)
    table = re.search(r"^\|.*\n\| ---.*\n((?:\|.*\n)+)", rest, re.MULTILINE)[1]
    cells = (line.split(" | ", 1) for line in table.splitlines())
    return [(re.findall(r"`(\w+)`", left), text) for left, text in cells]


def text_of(key, table):
    (text,) = [text for names, text in table if key in names]
    return text


def test_it_lists_the_keys_of_a_file(tmp_path):
    tmp_path.joinpath("test_one.py").write_text("def test_one(): pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "--gil-json=gil.json", "--gil-max-wait=1min"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    run = json.loads(tmp_path.joinpath("gil.json").read_text("utf-8"))
    (test,) = run["tests"]
    (limit,) = test["limits"]
    whole, one = rows("## Readings"), rows("An object of `tests`")
    assert {key for names, _ in whole for key in names} == set(run)
    assert {key for names, _ in one for key in names} == set(test)
    assert set(run["run"]) <= set(re.findall(r"`(\w+)`", text_of("run", whole)))
    assert set(limit) | set(get_args(Kind)) <= set(re.findall(r"`(\w+)`", text_of("limits", one)))
