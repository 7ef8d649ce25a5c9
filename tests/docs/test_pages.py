"""The options, ini keys, commands and programs that the pages name are there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.inner import exact

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts),
]

OPTION = r"--gil-[a-z-]*[a-z]"
INI_KEY = r"(?:-o |`)(gil_\w+) ?="
COMMAND = r"-m pytest_gilknock ([a-z]+)"
PROGRAM = r"(?:python |`|\()(?:\.\./)*((?:benchmarks|tests)/[\w/]+\.py)\b(?!:)"


def printed(*arguments: str) -> str:
    """What Python prints with these arguments."""
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture(scope="module")
def of_pytest() -> str:
    return printed("pytest", "--help")


@pytest.fixture(scope="module")
def of_the_commands() -> str:
    return printed("pytest_gilknock", "--help")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path, of_pytest: str, of_the_commands: str) -> None:
    text = page.read_text("utf-8")
    for option in set(re.findall(OPTION, text)):
        assert re.search(rf"^  {option}\b(?!-)", of_pytest, re.MULTILINE), option
    for key in set(re.findall(INI_KEY, text)):
        assert re.search(rf"^  {key} \(", of_pytest, re.MULTILINE), key
    for command in set(re.findall(COMMAND, text)):
        assert re.search(rf"^    {command} ", of_the_commands, re.MULTILINE), command
    for program in set(re.findall(PROGRAM, text)):
        assert ROOT.joinpath(program).exists(), program


@pytest.mark.parametrize("pattern", [OPTION, INI_KEY, COMMAND, PROGRAM])
def test_what_is_looked_for_is_found(pattern: str) -> None:
    """A pattern that finds nothing would let every page pass."""
    assert len({found for page in PAGES for found in re.findall(pattern, page.read_text())}) > 3


def run(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@exact
@pytest.mark.parametrize("option", ["-pno:gilknock", "-ogil_report=false", "-q"])
def test_a_report_that_the_ini_file_asks_for_is_silenced(tmp_path: Path, option: str) -> None:
    """As docs/questions.md has it."""
    tmp_path.joinpath("pytest.ini").write_text("[pytest]\ngil_report = true\n")
    slow = "import time\ndef test_one(): time.sleep(0.01)\n"
    tmp_path.joinpath("test_one.py").write_text(slow)
    heads = r"^contention +wait .*test$"
    assert re.search(heads, run(tmp_path, "-vv"), re.MULTILINE)
    silenced = run(tmp_path, option)
    assert not re.search(heads, silenced, re.MULTILINE)
    assert ("GIL contention" in silenced) == (option == "-q")
