"""What GitHub Actions gets to read."""

import os
from pathlib import Path

import pytest

from pytest_gilknock.reporting.github import (
    Annotation,
    append_summary,
    is_running,
    workflow_commands,
)


def one(**changes: object) -> Annotation:
    values = {"file": "tests/test_a.py", "line": 7, "title": "title", "message": "message"}
    return Annotation(**{**values, **changes})


def test_an_annotation_stands_at_its_file_and_line() -> None:
    assert list(workflow_commands([one()], {})) == [
        "::error file=tests/test_a.py,line=7,title=title::message"
    ]
    assert list(workflow_commands([one(line=None)], {})) == [
        "::error file=tests/test_a.py,title=title::message"
    ]


def test_what_would_end_a_property_or_a_line_is_escaped() -> None:
    hostile = "100%: a,b\r\n::error::x"
    (command,) = workflow_commands([one(file=hostile, title=hostile, message=hostile)], {})
    escaped = "100%25%3A a%2Cb%0D%0A%3A%3Aerror%3A%3Ax"
    assert command == (
        f"::error file={escaped},line=7,title={escaped}::100%25: a,b%0D%0A::error::x"
    )


def test_a_path_is_told_from_the_workspace_on() -> None:
    environ = {"GITHUB_WORKSPACE": os.getcwd()}
    inside = one(file=os.path.abspath("sub/tests/test_a.py"))
    outside = one(file="/elsewhere/test_a.py")
    assert [command.split(",")[0] for command in workflow_commands([inside, outside], environ)] == [
        "::error file=sub/tests/test_a.py",
        "::error file=/elsewhere/test_a.py",
    ]


def test_a_workspace_may_be_a_link(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    annotation = one(file=str(folder / "tests" / "test_a.py"))
    (command,) = workflow_commands([annotation], {"GITHUB_WORKSPACE": str(link)})
    assert command.startswith("::error file=tests/test_a.py,")


@pytest.mark.parametrize(("number", "lines"), [(0, 0), (1, 1), (10, 10), (11, 10), (500, 10)])
def test_there_are_never_more_than_github_shows(number: int, lines: int) -> None:
    annotations = [one(title=f"t{at}") for at in range(number)]
    commands = list(workflow_commands(annotations, {}))
    assert len(commands) == lines
    if number > 10:
        assert commands[-1].startswith(f"::error title={number - 9} more GIL regressions::")
        assert f"t{number - 1}" in commands[-1]
        assert "t8%0A" not in commands[-1]


@pytest.mark.parametrize(
    ("environ", "running"),
    [({}, False), ({"GITHUB_ACTIONS": "1"}, False), ({"GITHUB_ACTIONS": "true"}, True)],
)
def test_github_actions_says_that_it_is_running(environ: dict[str, str], running: bool) -> None:
    assert is_running(environ) is running


def test_the_summary_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    append_summary("# t\ud800", {"GITHUB_STEP_SUMMARY": str(path)})
    append_summary("nowhere", {})
    append_summary("nowhere", {"GITHUB_STEP_SUMMARY": ""})
    assert path.read_text() == "before\n# t\\ud800\n"
    with pytest.raises(OSError, match="directory"):
        append_summary("x", {"GITHUB_STEP_SUMMARY": str(tmp_path)})
