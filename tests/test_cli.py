"""The offline commands: what they print, their exit codes, and that they start without pytest."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.gate_samples import BASELINE, ENTRY, MACHINE, changed

from pytest_gilknock.baseline import environment
from pytest_gilknock.baseline.codec import SCHEMA_VERSION, dumps
from pytest_gilknock.baseline.model import BaselineEntry
from pytest_gilknock.baseline.storage import Storage
from pytest_gilknock.cli import main


def saved(path: Path, *, wait: float = 0.25, **changes: BaselineEntry) -> str:
    tests = {"test_a.py::test_one": changed(ENTRY, wait=wait), **changes}
    path.write_text(dumps(replace(BASELINE, tests=tests)))
    return str(path)


@pytest.fixture
def a(tmp_path: Path) -> str:
    return saved(tmp_path / "a.json")


@pytest.fixture
def worse(tmp_path: Path) -> str:
    return saved(tmp_path / "worse.json", wait=1.0)


def test_a_comparison_without_a_gate_is_information(
    a: str, worse: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", a, worse]) == 0
    out = capsys.readouterr().out
    assert "+  wait" in out
    assert "+750 ms" in out
    assert f"1 test of {worse} compared with {a}: 1 worse" in out


@pytest.mark.parametrize(
    ("gate", "code"), [("wait:20ms&25%", 1), ("wait:1s", 0), ("contention:0.05", 0)]
)
def test_a_breached_gate_is_exit_code_1(a: str, worse: str, gate: str, code: int) -> None:
    assert main(["compare", a, worse, "--fail", gate]) == code
    assert main(["compare", worse, a, "--fail", gate]) == 0, "what is better breaks no gate"


def test_the_forms_for_programs_and_pages(
    a: str, worse: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", a, worse, "--fail", "wait:1ms", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["breached"] is True
    assert main(["compare", a, worse, "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("### GIL contention compared with `")


def test_unlike_machines_are_compared_with_a_warning(
    a: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    other.write_text(dumps(replace(BASELINE, machine=replace(MACHINE, cpus=64))))
    assert main(["compare", a, str(other)]) == 0
    assert f"Warning: {a} and {other}: CPUs was 2, is 64" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["compare", "A", "B", "--fail", "wait:20"], "--fail: 'wait:20': '20' is neither a time"),
        (["compare", "A", "B", "--fail=wait:1s", "--fail=wait:2s"], "is a second gate for wait"),
        (["compare", "missing.json", "B"], "missing.json: No such file"),
        (["compare", "A", "damaged.json"], "damaged.json: not JSON, or cut off"),
        (["compare", "A", "future.json"], "has schema 99"),
        (["compare", "A", "foreign.json"], 'it has no "kind"'),
        (["compare", "A", "nightly"], "no saved run 'nightly'"),
        (["show", "missing.json"], "missing.json: No such file"),
    ],
)
def test_unusable_input_is_exit_code_2_with_the_reason(
    arguments: list[str],
    reason: str,
    a: str,
    worse: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("damaged.json").write_text(dumps(BASELINE)[:200])
    tmp_path.joinpath("future.json").write_text(
        dumps(BASELINE).replace(f'"schema": {SCHEMA_VERSION}', '"schema": 99')
    )
    tmp_path.joinpath("foreign.json").write_text('{"benchmarks": []}')
    names = {"A": a, "B": worse}
    assert main([names.get(argument, argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pytest_gilknock: ")
    assert reason in captured.err


@pytest.mark.parametrize(
    "arguments",
    [[], ["compare"], ["compare", "a"], ["delete", "a"], ["show", "a", "--json", "--markdown"]],
)
def test_a_wrong_command_line_is_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2


def test_saved_runs_are_found_by_name_and_make_a_spread(
    tmp_path: Path, worse: str, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = Storage(str(tmp_path), environment.machine_kind())
    for wait in (0.1, 0.99, 0.99, 0.99, 0.2):
        tests = {"test_a.py::test_one": changed(ENTRY, wait=wait)}
        storage.save("main", dumps(replace(BASELINE, tests=tests)))
    gate = ["--fail", "wait:20ms", "--storage", str(tmp_path)]
    assert main(["compare", "main", worse, *gate]) == 0, "1 s is within 20 ms of the usual run"
    assert main(["compare", "latest", worse, *gate]) == 1
    assert main(["compare", "1", "main", *gate]) == 1, "of the later name the latest run counts"
    assert "+100 ms" in capsys.readouterr().out


def test_show_tells_where_a_baseline_is_from_and_who_waited_most(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unmeasured = changed(ENTRY, method="sampled", wait=None, contended=None)
    path = saved(tmp_path / "b.json", most=changed(ENTRY, wait=9.0), none=unmeasured)
    assert main(["show", path]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: 3 tests, saved 2025-01-31T12:00:00Z",
        "Linux-CPython-3.13-64bit, x86_64, 2 CPUs, release 6.8.0, Python 3.13.0, GIL enabled,"
        " switch interval 5 ms",
        "commit 3f2a9c1b on main",
        "contention    wait  max wait  contended   method  test",
        "     0.500  9.00 s   5.00 ms         51    exact  most",
        "     0.500  250 ms   5.00 ms         51    exact  test_a.py::test_one",
        "     0.500     n/a   5.00 ms        n/a  sampled  none",
    ]
    assert main(["show", path, "--json"]) == 0
    assert capsys.readouterr().out == Path(path).read_text()
    assert main(["show", path, "--markdown"]) == 0
    assert "| 0.500 | 9.00 s | 5.00 ms | 51 | exact | `most` |" in capsys.readouterr().out


def test_the_module_runs_without_pytest_and_ends_quietly_when_nobody_reads(a: str) -> None:
    script = (
        "import runpy, sys\n"
        f"sys.argv = ['pytest_gilknock', 'show', {a!r}]\n"
        "try:\n"
        "    runpy.run_module('pytest_gilknock', run_name='__main__')\n"
        "finally:\n"
        "    print(sorted(m for m in sys.modules if m in ('pytest', '_pytest', "
        "'pytest_gilknock._core')), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")

    closed = subprocess.run(
        f"{sys.executable} -m pytest_gilknock show {a} | true; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (closed.returncode, closed.stderr) == (0, "")


def test_an_id_that_the_output_cannot_encode_is_escaped(tmp_path: Path) -> None:
    path = saved(tmp_path / "b.json", **{"test_ä.py::test[日本]": ENTRY})
    done = subprocess.run(
        [sys.executable, "-m", "pytest_gilknock", "show", path],
        env={"PYTHONIOENCODING": "ascii"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "test_\\xe4.py::test[\\u65e5\\u672c]" in done.stdout


def test_gates_are_suggested_from_the_saved_runs_of_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = Storage(str(tmp_path), environment.machine_kind())
    for wait in (0.10, 0.11):
        storage.save("main", dumps(replace(BASELINE, tests={"t": changed(ENTRY, wait=wait)})))
    where = ["--storage", str(tmp_path)]
    assert main(["suggest", "main", *where]) == 2
    assert "main: a suggestion needs 3 saved runs or more" in capsys.readouterr().err
    storage.save("main", dumps(replace(BASELINE, tests={"t": changed(ENTRY, wait=0.12)})))
    assert main(["suggest", "main", *where]) == 0
    out = capsys.readouterr().out
    assert "Gates that 3 saved runs keep:" in out
    assert "--gil-compare-fail='wait:20ms&10%'" in out
    assert main(["suggest", "main", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "pytest-gilknock suggestion"
    assert main(["suggest", "other", *where]) == 2
    assert "no saved run 'other'" in capsys.readouterr().err


def test_nothing_of_a_file_or_its_name_begins_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = replace(MACHINE, kind="x\n::error file=a\x1b[2J")
    a, b = tmp_path / "a\n::error ::b.json", tmp_path / "b\n::error ::c.json"
    a.write_text(dumps(replace(BASELINE, machine=machine)))
    b.write_text(dumps(BASELINE))
    for form in [], ["--markdown"]:
        assert main(["compare", str(a), str(b), *form]) == 0
        out = capsys.readouterr().out
        assert "machine kind was" in out
        assert not any(line.startswith("::") for line in out.splitlines())
        assert "\x1b" not in out


@pytest.mark.parametrize("command", ["show", "compare"])
def test_only_the_run_that_is_meant_is_read(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = Storage(str(tmp_path), environment.machine_kind())
    Path(storage.save("main", dumps(BASELINE))).write_text("damaged")
    latest = storage.save("main", dumps(BASELINE))
    arguments = {"show": ["main"], "compare": [latest, "main"]}[command]
    assert main([command, *arguments, "--storage", str(tmp_path)]) == 0, capsys.readouterr().err


def test_a_gil_that_was_turned_on_breaks_any_gate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = dict.fromkeys(ENTRY.metrics)
    off = replace(ENTRY, method="disabled", metrics=nothing, held=None)
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    a.write_text(dumps(replace(BASELINE, tests={"t": off})))
    b.write_text(dumps(replace(BASELINE, tests={"t": ENTRY})))
    assert main(["compare", str(a), str(b)]) == 0
    assert main(["compare", str(a), str(b), "--fail=wait:1s"]) == 1
    assert "The GIL is enabled, and was disabled before: 1 test (t)" in capsys.readouterr().out
    assert main(["compare", str(b), str(a), "--fail=wait:1s"]) == 0
    assert main(["compare", str(a), str(a), "--fail=wait:1s"]) == 0
