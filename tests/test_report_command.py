"""``python -m pytest_gilknock report FILE --html OUT``: a page of a run that is over."""

import gzip
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.gate_samples import BASELINE, ENTRY, changed
from support.scripted import measured, raw, totals

from pytest_gilknock import cli
from pytest_gilknock.baseline import environment
from pytest_gilknock.baseline.codec import dumps
from pytest_gilknock.baseline.storage import Storage
from pytest_gilknock.cli import main
from pytest_gilknock.reporting.file_report import find
from pytest_gilknock.reporting.results import Results

pytest.importorskip("jinja2", reason="the page needs Jinja2")

HOSTILE = "t.py::test_</script>"
ESCAPED = "t.py::test_\\u003c/script\\u003e"


def saved(path: Path) -> str:
    tests = {HOSTILE: changed(ENTRY, wait=0.25), "calm": changed(ENTRY, wait=0.0)}
    path.write_text(dumps(replace(BASELINE, tests=tests)))
    return str(path)


def readings(path: Path, opener: Callable[..., Any] = open) -> str:
    results = Results(top=10, sort="wait", keep_all=True, root="/src")
    results.add(HOSTILE, "passed", measured(raw()))
    results.crashed = 1
    results.add_process(totals(raw()))
    with opener(path, "wt") as file:
        file.writelines(find("json").write(results))
    return str(path)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_saved_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "gil.html"
    out.write_text("before")
    assert main(["report", saved(folder / "a.json"), "--html", "gil.html"]) == 0
    assert capsys.readouterr().out == "Page written to gil.html\n"
    text = out.read_text()
    assert "1 test kept threads waiting 250 ms." in text
    assert ESCAPED in text
    assert HOSTILE not in text


def test_a_numbered_run_by_its_name(folder: Path) -> None:
    storage = Storage(str(folder / "runs"), environment.machine_kind())
    for wait in (0.1, 0.5):
        storage.save("main", dumps(replace(BASELINE, tests={"t": changed(ENTRY, wait=wait)})))
    assert main(["report", "main", "--html", "gil.html", "--storage", "runs"]) == 0
    assert "waiting 500 ms" in folder.joinpath("gil.html").read_text()


@pytest.mark.parametrize("opener", [open, gzip.open], ids=["plain", "gzip"])
def test_a_file_of_readings(folder: Path, opener: Callable[..., Any]) -> None:
    path = readings(folder / "gil", opener)
    assert main(["report", path, "--html", "gil.html"]) == 0
    text = folder.joinpath("gil.html").read_text()
    assert "app/pool.py:31 burn did 40 % of it." in text
    assert "1 process crashed" in text
    assert ESCAPED in text


def test_a_page_that_is_compressed(folder: Path) -> None:
    assert main(["report", readings(folder / "gil.json"), "--html", "gil.html.gz"]) == 0
    packed = folder.joinpath("gil.html.gz").read_bytes()
    assert gzip.decompress(packed).startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing.json", "--html=o.html"], "missing.json: No such file"),
        (["nothing", "--html=o.html"], "no saved run 'nothing'"),
        (["cut.json", "--html=o.html"], "cut.json: not JSON, or cut off"),
        (["empty.json", "--html=o.html"], "empty.json: the file is empty"),
        (["foreign.json", "--html=o.html"], "made neither by --gil-json nor by --gil-save"),
        (["cut.json.gz", "--html=o.html"], "cut.json.gz: "),
        (["a.json", "--html=."], "is a directory; give the path of a file to write"),
        (["a.json", "--html=none/o.html"], "is not a directory; give the path of a file to write"),
        (["a.json", "--html=a.json"], "a.json is the file to read; give another path"),
        (["a.json", "--html=b.json"], "b.json is a saved run; give another path"),
        (["a.json", "--html=0009_new.json", "--storage=.."], "are called NUMBER_NAME"),
    ],
)
def test_what_cannot_be_used(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    text = Path(saved(folder / "a.json")).read_text()
    saved(folder / "b.json")
    folder.joinpath("cut.json").write_text(text[:100])
    folder.joinpath("empty.json").write_text("")
    folder.joinpath("foreign.json").write_text('{"tests": []}')
    folder.joinpath("cut.json.gz").write_bytes(gzip.compress(text.encode())[:-20])
    assert main(["report", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("pytest_gilknock: ")
    assert reason in captured.err
    assert not folder.joinpath("o.html").exists()
    assert folder.joinpath("a.json").read_text() == text
    assert folder.joinpath("b.json").read_text() == text


def test_without_jinja2_it_says_how_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    assert main(["report", saved(folder / "a.json"), "--html=o.html"]) == 2
    assert "pip install 'pytest-gilknock[html]'" in capsys.readouterr().err


def test_it_needs_neither_pytest_nor_the_core(folder: Path) -> None:
    path = readings(folder / "gil.json")
    script = (
        "import sys; from pytest_gilknock.cli import main\n"
        f"code = main(['report', {path!r}, '--html=o.html'])\n"
        "loaded = {'pytest', '_pytest', 'pytest_gilknock._core'} & sys.modules.keys()\n"
        "sys.exit(str(loaded) if loaded else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
