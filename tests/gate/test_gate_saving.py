"""Runs that save what they measured: into numbered runs and into files."""

import os
import resource
import subprocess
import sys

import pytest
from support.gate_samples import FREE, FULL, GATE, SCRIPTED, read, run, write

from pytest_gilknock.baseline import environment

pytestmark = SCRIPTED


def test_runs_are_saved_under_numbers_and_a_name(project: pytest.Pytester) -> None:
    kind = environment.machine_kind()
    for number in (1, 2):
        result = run(project, "--gil-save=main")
        path = f".gilknock/{kind}/000{number}_main.json"
        result.stdout.fnmatch_lines([f"GIL baseline of 2 tests saved to {path}"])
        assert set(read(project.path / path).tests) == {
            "test_a.py::test_one",
            "test_a.py::test_two",
        }


def test_an_autosaved_run_is_named_by_commit_and_time(project: pytest.Pytester) -> None:
    run(project, "--gil-autosave", "--gil-storage=elsewhere")
    (path,) = project.path.joinpath("elsewhere", environment.machine_kind()).iterdir()
    commit, _, time = path.stem.removeprefix("0001_").partition("_")
    assert commit.isalnum()
    assert len(time) == len("20250131T120000")


def test_the_storage_of_the_ini_file_is_below_the_root(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\ngil_storage = of_ini")
    project.mkdir("sub")
    os.chdir(project.path / "sub")
    project.runpytest("..", "-k", "one", "--gil-save=main")
    assert list(project.path.glob("of_ini/*/0001_main.json"))


def test_a_partial_run_keeps_the_other_entries_of_a_file_and_says_so(
    project: pytest.Pytester,
) -> None:
    path = project.path / "base.json"
    run(project, "--gil-save=base.json")
    before = read(path)
    result = run(project, "--gil-save=base.json", tests="two")
    result.stdout.fnmatch_lines(
        ["GIL baseline of 1 test saved to base.json; kept 1 test that did not run, pass or*"]
    )
    after = read(path)
    assert after.tests["test_a.py::test_one"] == before.tests["test_a.py::test_one"]
    assert set(after.tests) == set(before.tests)


def test_a_failed_test_is_not_saved(project: pytest.Pytester) -> None:
    run(project, "--gil-save=base.json", tests="one or fails")
    assert set(read(project.path / "base.json").tests) == {"test_a.py::test_one"}
    result = run(project, "--gil-save=none.json", tests="fails")
    result.stdout.fnmatch_lines(["GIL baseline not saved: no measured test passed"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not project.path.joinpath("none.json").exists()


def test_a_test_over_its_gate_does_not_raise_its_own_baseline(project: pytest.Pytester) -> None:
    path = project.path / "base.json"
    write(path, test_one=FREE, test_two=FULL)
    result = run(project, "--gil-compare=base.json", GATE, "--gil-save=base.json")
    result.assert_outcomes(passed=1, failed=1)
    assert read(path).tests["test_a.py::test_one"] == FREE
    assert read(path).tests["test_a.py::test_two"] != FULL


def test_a_tests_change_of_directory_does_not_move_the_baseline(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_a="import os\n\ndef test_one(tmp_path, monkeypatch):\n    os.chdir(tmp_path)\n"
    )
    home = project.path
    run(project, "--gil-save=base.json")
    assert read(home / "base.json").tests


@pytest.mark.parametrize("name", ["base.json", "main"])
def test_a_baseline_too_large_to_be_read_back_is_not_saved(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("pytest_gilknock.baseline.codec.MAX_BYTES", 100)
    result = run(project, f"--gil-save={name}", "-kone")
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    place = name if name.endswith(".json") else "*"
    result.stdout.fnmatch_lines([f"GIL baseline not saved: {place}: with 1 tests larger than *"])


def test_a_full_disk_leaves_the_old_baseline_and_fails_the_run(project: pytest.Pytester) -> None:
    path = project.path / "base.json"
    write(path, test_one=FULL)
    old = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-pno:cacheprovider", "--gil-save=base.json", "-kone"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16)),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # not to a file, which has no room for it
        text=True,
        timeout=60,
        check=False,
    )
    assert "GIL baseline not saved: base.json: File too large" in done.stdout
    assert done.returncode == pytest.ExitCode.INTERNAL_ERROR
    assert path.read_bytes() == old
    assert not list(project.path.glob("*.tmp"))


def test_a_run_that_is_broken_off_is_merged_into_a_file_and_is_no_numbered_run(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        test_a="import pytest\ndef test_one(): pass\ndef test_two(): pytest.exit('enough')\n"
    )
    write(project.path / "base.json", test_one=FULL, test_two=FULL)
    result = project.runpytest("--gil-save=base.json")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    tests = read(project.path / "base.json").tests
    assert tests["test_a.py::test_one"] != FULL
    assert tests["test_a.py::test_two"] == FULL
    result = project.runpytest("--gil-save=main")
    result.stdout.fnmatch_lines(["GIL baseline not saved: the run was broken off*"])
    assert not project.path.joinpath(".gilknock").exists()


def test_a_numbered_run_says_which_tests_of_the_run_before_it_lacks(
    project: pytest.Pytester,
) -> None:
    run(project, "--gil-save=main")
    run(project, "--gil-save=other", tests="one")
    lacking = run(project, "--gil-save=main", tests="two")
    lacking.stdout.fnmatch_lines(["*1 test saved to *0003_main.json, without 1 test of 0001_m*"])
    more = run(project, "--gil-save=main")
    more.stdout.fnmatch_lines(["GIL baseline of 2 tests saved to *0004_main.json"])
    automatic = run(project, "--gil-autosave", tests="one")
    automatic.stdout.fnmatch_lines(["*0005_nocommit_*.json, without 1 test of 0004_main.json"])


def test_a_damaged_run_before_it_is_no_hindrance(project: pytest.Pytester) -> None:
    run(project, "--gil-save=main")
    (first,) = project.path.glob(".gilknock/*/0001_main.json")
    first.write_text("damaged")
    result = run(project, "--gil-save=main", tests="one")
    result.stdout.fnmatch_lines(["GIL baseline of 1 test saved to *0002_main.json"])
    assert first.read_text() == "damaged"


def test_a_file_damaged_while_the_tests_ran_is_not_overwritten(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_a="def test_one(pytestconfig):\n"
        "    pytestconfig.rootpath.joinpath('base.json').write_text('precious')\n"
    )
    result = run(project, "--gil-save=base.json")
    result.stdout.fnmatch_lines(["GIL baseline not saved: *base.json: not JSON, or cut off*"])
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    assert project.path.joinpath("base.json").read_text() == "precious"
