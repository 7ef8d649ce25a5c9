"""Runs that compare with a baseline: what is shown, what fails, what is only a warning."""

import json

import pytest
from support.gate_samples import FREE, FULL, GATE, SCRIPTED, run, write

from pytest_gilknock.baseline import environment
from pytest_gilknock.baseline.codec import dumps

pytestmark = SCRIPTED


def test_a_comparison_without_a_gate_fails_nothing(project: pytest.Pytester) -> None:
    write(project.path / "base.json", test_one=FREE, test_gone=FREE)
    result = run(project, "--gil-compare=base.json")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "gilknock: compared with base.json",
            "*= GIL contention compared =*",
            "+  contention  * test_a.py::test_one",
            "1 test of this run compared with base.json: 1 worse",
            "New, without a baseline: 1 test (test_a.py::test_two)",
            "In the baseline, but did not run, pass or get measured: 1 test (test_a.py::test_gone)",
        ]
    )


def test_a_test_over_its_gate_fails_and_says_why(project: pytest.Pytester) -> None:
    write(project.path / "base.json", test_one=FREE, test_two=FULL)
    result = run(project, "--gil-compare=base.json", GATE)
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "gilknock: compared with base.json; gate contention:0.5",
            "*_ test_one _*",
            "GIL contention regression: contention 1.000, was 0.000 (+1.000, from 0)",
            "  allowed     +0.500, set by --gil-compare-fail=contention:0.5",
            "  before      0.000 in base.json",
            "  contention  1.000 (the GIL was held *",
            "*= GIL contention compared =*",
            "!  contention * test_a.py::test_one",
            "Gate: contention:0.5",
            "FAILED test_a.py::test_one - GIL: contention 1.000, was 0.000 (+1.000, from 0)",
        ]
    )


def test_saved_runs_of_a_name_make_a_spread(project: pytest.Pytester) -> None:
    folder = project.path / ".gilknock" / environment.machine_kind()
    folder.mkdir(parents=True)
    write(folder / "0001_main.json", test_one=FREE)
    write(folder / "0002_main.json", test_one=FULL)
    write(folder / "0003_main.json", test_one=FREE)
    assert run(project, "--gil-compare=main", GATE).ret == pytest.ExitCode.OK
    for reference in ("latest", "3", "1"):
        assert run(project, f"--gil-compare={reference}", GATE).ret == pytest.ExitCode.TESTS_FAILED
    folder.joinpath("0002_main.json").write_text("damaged")
    result = run(project, "--gil-compare=main", GATE)
    result.stdout.fnmatch_lines(["Warning: not compared with *0002_main.json: not JSON, or cut*"])
    result.stdout.fnmatch_lines(["  before      0.000, the worse of 2 from 0.000 to 0.000 (0001_*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "nothing to compare with: no saved run 'main' in *: nothing is saved there yet"),
        ("", "not compared with base.json: the file is empty"),
        ('{"kind": "x"}', "not compared with base.json: not a baseline*"),
        (("schema", 99), "not compared with base.json: has schema 99*"),
        (("cpus", 99), "compared with base.json, but its CPUs was 99, is *"),
        (("kind", "Linux-CPython-3.9-64bit"), "compared with base.json, but its machine kind was*"),
        (
            ("kind", "x\n::error file=a\x1b[2J"),
            r"compared with base.json, but its machine kind was x\n::error file=a\x1b?2J, is *",
        ),
    ],
)
def test_a_baseline_that_is_missing_unreadable_or_unlike_is_a_warning_and_strictly_an_error(
    project: pytest.Pytester, content: str | tuple[str, object] | None, reason: str
) -> None:
    if isinstance(content, tuple):
        document = json.loads(dumps(environment.baseline({"test_a.py::test_one": FULL})))
        place = document if content[0] == "schema" else document["machine"]
        place[content[0]] = content[1]
        content = json.dumps(document)
    if content is not None:
        project.path.joinpath("base.json").write_text(content)
    reference = "main" if content is None else "base.json"
    result = run(project, f"--gil-compare={reference}", GATE)
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines([f"gilknock: warning: {reason}", f"Warning: {reason}"])

    result = run(project, f"--gil-compare={reference}", GATE, "--gil-compare-strict")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --gil-compare-strict: {reason}"])


@pytest.mark.parametrize("distributed", [[], ["-n2"]])
def test_a_gate_of_the_ini_file_is_named_as_that(
    project: pytest.Pytester, distributed: list[str]
) -> None:
    if distributed:
        pytest.importorskip("xdist")
    project.makeini("[pytest]\ngil_compare_fail = contention:0.5\n")
    write(project.path / "base.json", test_one=FREE)
    result = run(project, "--gil-compare=base.json", *distributed)
    result.stdout.fnmatch_lines(
        ["  allowed     +0.500, set by ini key gil_compare_fail: contention:0.5"]
    )


@pytest.mark.parametrize("distributed", [[], ["-n2"]])
def test_another_method_is_not_judged_and_strictly_an_error(
    project: pytest.Pytester, distributed: list[str]
) -> None:
    if distributed:
        pytest.importorskip("xdist")
    write(project.path / "base.json", test_one=FREE)
    sampled = ["--gil-compare=base.json", GATE, "--gil-method=sampled", *distributed]
    result = run(project, *sampled)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["Warning: contention of 1 test not judged by the gate: exact before, sampled now"]
    )
    result = run(project, *sampled, "--gil-compare-strict")
    words = "--gil-compare-strict: measured by the method sampled here, compared with exact in"
    assert words in result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_method_that_is_the_same_is_strictly_right(project: pytest.Pytester) -> None:
    write(project.path / "base.json", test_one=FULL)
    result = run(project, "--gil-compare=base.json", GATE, "--gil-compare-strict")
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("distributed", [[], ["-n2"]])
def test_a_baseline_of_none_of_the_tests_gates_nothing_and_is_strictly_an_error(
    project: pytest.Pytester, distributed: list[str]
) -> None:
    if distributed:
        pytest.importorskip("xdist")
    write(project.path / "base.json", test_gone=FULL)
    result = run(project, "--gil-compare=base.json", GATE, *distributed)
    assert result.ret == pytest.ExitCode.OK
    result = run(project, "--gil-compare=base.json", GATE, "--gil-compare-strict", *distributed)
    words = "--gil-compare-strict: none of the 2 tests of this run is in base.json, so nothing can"
    assert words in result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_run_without_tests_is_strictly_no_error_of_the_baseline(
    project: pytest.Pytester,
) -> None:
    write(project.path / "base.json", test_gone=FULL)
    gate = ["--gil-compare=base.json", GATE, "--gil-compare-strict"]
    assert run(project, *gate, "-k", "nothing").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_another_switch_interval_is_told(project: pytest.Pytester) -> None:
    run(project, "--gil-save=base.json", "--gil-switch-interval=1ms")
    same = run(project, "--gil-compare=base.json", "--gil-switch-interval=1ms")
    same.stdout.no_fnmatch_line("*Warning*")
    other = run(project, "--gil-compare=base.json")
    other.stdout.fnmatch_lines(["Warning: *but its switch interval was 0.001 s, is 0.005 s"])
