"""What other programs get to read of a comparison: GitHub, github-action-benchmark."""

import json

import pytest
from support.gate_samples import FREE, FULL, GATE, SCRIPTED, run, write

from pytest_gilknock.model.metrics import METRICS

pytestmark = SCRIPTED


def test_github_action_benchmark_gets_its_form(project: pytest.Pytester) -> None:
    run(project, "--gil-export=github-action-benchmark:out.json")
    benches = json.loads(project.path.joinpath("out.json").read_text())
    measured = {name for name, metric in METRICS.items() if not metric.asked_for}
    assert {bench["name"] for bench in benches} == {
        f"test_a.py::{test} {metric}" for test in ("test_one", "test_two") for metric in measured
    }
    assert all(isinstance(bench["value"], int | float) and bench["unit"] for bench in benches)


@pytest.mark.parametrize("arguments", [[], ["-n2"]])
def test_github_gets_annotations_and_a_summary(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    if arguments:
        pytest.importorskip("xdist")
    write(project.path / "base.json", test_one=FREE, test_two=FREE)
    summary = project.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    compare = ["--gil-compare=base.json", GATE, *arguments]
    run(project, *compare).stdout.no_fnmatch_line("*::error*")
    assert not summary.exists()

    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.path.parent))
    result = run(project, *compare)
    folder = project.path.name
    result.stdout.fnmatch_lines(
        [
            f"::error file={folder}/test_a.py,line=[46],"
            "title=test_one%3A GIL contention regression%3A"
            " contention 1.000*::GIL contention regression: contention 1.000*%0A  before*",
            f"::error file={folder}/test_a.py,line=[49],title=test_two%3A *",
        ]
    )
    assert result.stdout.str().count("::error") == 2
    text = summary.read_text()
    assert text.startswith("### GIL contention compared with `base.json`\n")
    assert text.count("| **!** | contention |") == 2
    run(project, *compare)
    assert summary.read_text().count("### GIL") == 2


def test_a_limit_of_a_marker_is_annotated_too(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    project.makepyfile(
        test_a="import pytest\n\n@pytest.mark.max_gil_contention(0)\ndef test_one(): pass\n"
        "def test_own(): assert 0\n"
    )
    result = project.runpytest()
    result.stdout.fnmatch_lines(["::error file=*test_a.py,line=3,title=test_one%3A GIL limit ex*"])
    assert result.stdout.str().count("::error") == 1


def test_no_annotations_where_another_plugin_makes_them(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    project.makepyfile(pytest_github_actions_annotate_failures="")
    project.syspathinsert()
    write(project.path / "base.json", test_one=FREE)
    other = ["-p", "pytest_github_actions_annotate_failures"]
    result = run(project, "--gil-compare=base.json", GATE, *other)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line("*::error*")


def test_a_summary_that_cannot_be_written_only_warns(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path))
    write(project.path / "base.json", test_one=FULL)
    result = run(project, "--gil-compare=base.json")
    result.stdout.fnmatch_lines(["GITHUB_STEP_SUMMARY: *Is a directory*"])
    assert result.ret == pytest.ExitCode.OK
