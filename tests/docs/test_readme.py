"""What the README says of files, limits and the demonstration is so."""

import re
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

from support.inner import exact

from pytest_gilknock.gate.expression import parse_gate

ROOT = Path(__file__).parents[2]
README = ROOT.joinpath("README.md").read_text("utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
EXCERPT, *PRINTED = [text for language, text in FENCED if not language]


def demo(*options):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", *options]
    done = subprocess.run(
        [*command, "tests/demo"],
        cwd=ROOT,
        env={"COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout


def test_its_gates_are_gates():
    (gate,) = re.findall(r"--gil-compare-fail='([^']*)'", README)
    assert str(parse_gate(gate)) == gate


def test_the_files_it_names_are_there():
    named = re.findall(r"`((?:docs|benchmarks|tests)/[^`\s]*|[A-Z]+\.md)`", README)
    linked = re.findall(r"\]\((?!https:)([^)]+)\)", README)
    assert len(named) > 3
    assert linked
    for path in named + linked:
        file, _, anchor = path.partition("#")
        assert ROOT.joinpath(file).exists(), path
        if anchor:
            text = ROOT.joinpath(file).read_text("utf-8")
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            assert anchor in {heading.lower().replace(" ", "-") for heading in headings}, path


@exact
def test_its_table_is_what_the_demonstration_prints():
    table, printed = PRINTED[0], demo("--gil-report", "-vv")  # with tests that hardly wait
    assert EXCERPT in table
    head, limited = (
        re.search(r"^contention .*$", text, re.MULTILINE)[0].split() for text in (table, printed)
    )
    assert head == [word for word in limited if word in head]
    tests = set(re.findall(r"test_demo\.py::(test_\w+)", table))
    hidden = re.search(r"\((\d) tests? below 1 ms wait hidden", table)
    assert len(tests) + int(hidden[1] if hidden else 0) == 5
    for words in (
        *tests,
        "held by, over all tests",
        "waited in, over all tests",
        "Whole run: ",
    ):
        assert words in table
        assert words in printed


@exact
def test_its_broken_limit_is_what_the_demonstration_prints():
    text, printed = PRINTED[1], demo("--gil-max-wait=20ms", "-k", "native_call")
    for pattern in (
        r"GIL limit exceeded: .* waited [\d.]+ m?s.*limit 20 ms, set by --gil-max-wait",
        r"  contention  0\.\d+ \(the GIL was held [\d.]+ m?s of [\d.]+ m?s\)",
        r"  blame       .*\n +tests/demo/test_demo\.py:55 test_native_call_keeps_the_gil in Main",
        r"ctypes\.PyDLL\(None\)\.usleep\(100_000\)",
        r"  waited      ",
    ):
        assert re.search(pattern, text), pattern
        assert re.search(pattern, printed), pattern


def test_an_index_gets_it_without_relative_links():
    text = metadata("pytest-gilknock").get_payload()
    assert "Who is holding the GIL?" in text
    assert not re.findall(r"\]\((?!https:)[^)]*\)", text)
