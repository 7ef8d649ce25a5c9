"""What the options of a gate may be, and when they ask for nothing."""

import subprocess
import sys

import pytest
from support.gate_samples import FREE, SCRIPTED, run, write

from pytest_gilknock.baseline import environment
from pytest_gilknock.baseline.codec import SCHEMA_VERSION, dumps

pytestmark = SCRIPTED


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--gil-save=../main"], "--gil-save: '../main' is not a name of up to 80 letters"),
        (["--gil-save=/tmp/main"], "--gil-save: '/tmp/main' is not a name"),
        (["--gil-save="], "--gil-save: '' is not a name"),
        (["--gil-save=a\x1b[2J"], "--gil-save: 'a\\x1b[2J' is not a name"),
        (["--gil-save=17"], "--gil-save: '17' is not a name"),
        (["--gil-save=missing/b.json"], "--gil-save: * is not a directory"),
        (["--gil-save=folder.json"], "--gil-save: * is a directory"),
        (["--gil-save=file/b.json"], "--gil-save: * is not a directory"),
        (["--gil-save=damaged.json"], "--gil-save: damaged.json: not JSON, or cut off*"),
        (["--gil-save=future.json"], "--gil-save: future.json: has schema 99, this pytest-*"),
        (["--gil-save=foreign.json"], "--gil-save: foreign.json: not a baseline*"),
        (["--gil-save=other.json"], "--gil-save: other.json: *other conditions*CPUs was 99*"),
        (["--gil-save=main", "--gil-storage=file"], "--gil-save: *file is not a folder"),
        (["--gil-save=main", "--gil-storage="], "--gil-storage: '' is not the path of a folder"),
        (["--gil-save=main", "--gil-autosave"], "--gil-autosave names the run itself"),
        (["--gil-compare="], "--gil-compare: '' is no name"),
        (["--gil-compare=b", "--gil-compare-fail=wait:20"], "--gil-compare-fail: 'wait:20': '20'"),
        (["--gil-compare=b", "--gil-compare-fail="], "--gil-compare-fail: '' has no METRIC"),
        (["--gil-compare=b", "--gil-compare-retries=-1"], "--gil-compare-retries: '-1' is not a"),
        (["--gil-compare=b", "--gil-compare-retries=99999999999"], "'99999999999' is not a num"),
        (["--gil-compare-fail=wait:1s"], "--gil-compare-fail has no effect without --gil-compare"),
        (["--gil-compare-strict"], "--gil-compare-strict has no effect without --gil-compare"),
        (["--gil-compare-retries=1"], "--gil-compare-retries has no effect without"),
        (
            ["--gil-compare=file.json", "--gil-json=folder.json/../file.json"],
            "--gil-json: *file.json' is the saved run of --gil-compare as well",
        ),
        (
            ["--gil-save=file.json", "--gil-export=html:file.json"],
            "--gil-export: *file.json' is the saved run of --gil-save as well",
        ),
    ],
)
def test_what_cannot_be_used_is_told_before_a_test_runs(
    project: pytest.Pytester, arguments: list[str], reason: str
) -> None:
    text = dumps(environment.baseline({"test_a.py::test_one": FREE}))
    files = {
        "file": "kept",
        "damaged.json": text[:200],
        "file.json": text,
        "future.json": text.replace(f'"schema": {SCHEMA_VERSION}', '"schema": 99'),
        "foreign.json": '{"benchmarks": []}',
        "other.json": text.replace('"cpus": ', '"cpus": 99'),
    }
    for name, content in files.items():
        project.path.joinpath(name).write_text(content)
    project.mkdir("folder.json")
    result = run(project, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{reason.replace('[', '[[]')}*"])
    result.stdout.no_fnmatch_line("*passed*")
    for name, content in files.items():
        assert project.path.joinpath(name).read_text() == content, f"{name} is as it was"


@pytest.mark.parametrize("export", ["--gil-json=", "--gil-export=json:", "--gil-export=trace:"])
def test_no_file_report_replaces_a_saved_run(project: pytest.Pytester, export: str) -> None:
    saved = project.path / "base.json"
    write(saved, test_one=FREE)
    text = saved.read_text()
    result = run(project, f"{export}{saved}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    option = export.partition("=")[0]
    result.stderr.fnmatch_lines(
        [f"ERROR: {option}: *base.json is a saved run; give the path of a file to write"]
    )
    assert saved.read_text() == text


def test_no_file_report_replaces_a_run_that_was_saved_meanwhile(project: pytest.Pytester) -> None:
    write(project.path / "base.json", test_one=FREE)
    project.makepyfile(
        test_a="import os\n\ndef test_one():\n    os.rename('base.json', 'gil.json')\n"
    )
    text = project.path.joinpath("base.json").read_text()
    result = run(project, "--gil-json=gil.json")
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    result.stdout.fnmatch_lines(["--gil-json: *gil.json is a saved run"])
    assert project.path.joinpath("gil.json").read_text() == text


@pytest.mark.parametrize("arguments", [[], ["--gil-save=main"], ["--gil-storage=store"]])
def test_no_file_report_is_taken_for_a_saved_run(
    project: pytest.Pytester, arguments: list[str]
) -> None:
    storage = "store" if "--gil-storage=store" in arguments else ".gilknock"
    folder = project.path / storage / environment.machine_kind()
    folder.mkdir(parents=True)
    result = run(project, f"--gil-export=json:{folder}/0009_new.json", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            f"ERROR: --gil-export: *0009_new.json' would be taken for a saved run, as those in"
            f" *{storage} are called NUMBER_NAME.json; give it another name or folder"
        ]
    )
    result.stdout.no_fnmatch_line("*passed*")
    assert not any(folder.iterdir())


def test_a_file_report_may_lie_beside_saved_runs(project: pytest.Pytester) -> None:
    folder = project.path / ".gilknock" / environment.machine_kind()
    folder.mkdir(parents=True)
    result = run(project, f"--gil-json={folder}/gil.json")
    assert result.ret == pytest.ExitCode.OK
    assert folder.joinpath("gil.json").exists()


def test_a_gate_of_the_ini_file_is_checked_and_waits_for_a_comparison(
    project: pytest.Pytester,
) -> None:
    project.makeini("[pytest]\ngil_compare_fail =\n    contention:0.5\n    wait:bad")
    assert run(project).ret == pytest.ExitCode.OK
    result = run(project, "--gil-compare=main")
    result.stderr.fnmatch_lines(["ERROR: *ini key gil_compare_fail: 'wait:bad': 'bad' is neither*"])


def test_collecting_compares_and_saves_nothing(project: pytest.Pytester) -> None:
    result = run(project, "--collect-only", "--gil-save=base.json", "--gil-compare=main")
    result.stdout.no_fnmatch_line("*GIL*")
    assert not project.path.joinpath("base.json").exists()


def test_an_unused_gate_imports_nothing(project: pytest.Pytester) -> None:
    project.path.joinpath("conftest.py").unlink()
    script = (
        "import pytest, sys\n"
        "pytest.main(['-q', '-k', 'one', '--gil-report'])\n"
        "print(*[name for name in sys.modules if name.startswith('pytest_gilknock.')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = done.stdout.splitlines()[-1].split()
    assert "pytest_gilknock.reporting.reporter" in loaded
    assert [name for name in loaded if ".baseline" in name or ".gate." in name] == [
        "pytest_gilknock.gate.settings"
    ]
