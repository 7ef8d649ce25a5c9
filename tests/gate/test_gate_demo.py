"""The demonstration of the gate: its rounds, its table, and what counts as wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from regression_demo import demo

from pytest_gilknock import _core

PROJECT = demo.PROJECTS[0]
CELL = demo.Cell(PROJECT, "large", 1)


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, demo.__file__, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )


def rows(output: str) -> list[str]:
    """The table's rows, which stand between what wrong rounds printed."""
    return [line for line in output.splitlines() if line.startswith("native ")]


@pytest.mark.skipif(_core.status()[0] != "exact", reason="its gates are for exact readings")
def test_rounds_are_run_and_their_verdicts_counted(tmp_path: Path) -> None:
    cells = ["--projects", "native", "--hogs", "0", "--changes", "none", "large"]
    results = ["--results", str(tmp_path / "rounds")]
    results += ["--saved-runs", "2"]
    done = run("--rounds=1", "--verbose", *cells, *results)
    table = rows(done.stdout)
    none, large = [row.split() for row in table]
    assert none[:4] == ["native", "none", "0", "1"], done.stdout
    assert large[:4] == ["native", "large", "0", "1"], done.stdout
    wrong = int(none[4]) + int(large[5])
    assert done.returncode == (1 if wrong else 0)
    if os.environ.get("GILKNOCK_NIGHTLY") == "1":  # on a machine that has nothing else to do
        assert wrong == 0, done.stdout
    again = run("--rounds=1", *cells, *results)  # has nothing left to run
    assert rows(again.stdout) == table


@pytest.mark.parametrize("project", demo.PROJECTS, ids=lambda project: project.name)
def test_each_change_changes_its_service(project: demo.Project, tmp_path: Path) -> None:
    demo.write_project(project, tmp_path)
    service = tmp_path / "service.py"
    sources = set()
    for size in demo.SIZES:
        demo.apply(project, tmp_path, project.change(size))
        compile(service.read_text(), service.name, "exec")
        sources.add(service.read_text())
    assert len(sources) == len(demo.SIZES)
    assert f"def {project.test}(" in (tmp_path / "test_service.py").read_text()


def test_rounds_are_kept_by_cell_and_conditions(tmp_path: Path) -> None:
    path = tmp_path / "rounds"
    first = demo.Results(path, "wait:50ms")
    small = demo.Cell(PROJECT, "small", 0)
    first.add(small, wrong=True, output="")
    first.add(small._replace(hogs=2), wrong=False, output="")
    first.add(small._replace(size="none"), wrong=False, output="")
    changed = PROJECT._replace(small=PROJECT.large)
    first.add(small._replace(project=changed), wrong=False, output="")
    again = demo.Results(path, "wait:50ms")
    assert again.of(small) == [True]
    assert again.of(demo.Cell(changed, "none", 0)) == [False]
    assert demo.Results(path, "wait:20ms").of(small) == []


def test_a_project_s_cells_share_a_baseline_for_ten_rounds_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    baselines, runs = [], []
    monkeypatch.setattr(demo, "save_baseline", lambda *arguments: baselines.append(arguments))

    def run_tests(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        runs.append((folder, (folder / "service.py").read_text()))
        return subprocess.CompletedProcess(arguments, 0, "")

    monkeypatch.setattr(demo, "run_tests", run_tests)
    monkeypatch.setattr(sys, "argv", ["demo.py", "--rounds=4", "--calm-rounds=25"])
    options = demo.parse_arguments()
    cells = [demo.Cell(PROJECT, size, 0) for size in ("none", "large")]
    demo.run_table(cells, options, demo.Results(None, ""))
    assert len(baselines) == 3
    sources = [source for _, source in runs]
    assert [sources.count(source) for source in dict.fromkeys(sources)] == [25, 4]
    assert len({folder for folder, _ in runs[:14]}) == 1


def test_time_may_run_out_and_the_next_call_goes_on(tmp_path: Path) -> None:
    cells = ["--projects", "native", "--hogs", "0", "--changes", "none"]
    done = run("--seconds=0", *cells, "--results", str(tmp_path / "rounds"))
    assert done.returncode == 1
    *_, row, missing = done.stdout.splitlines()
    assert row.split() == ["native", "none", "0", "0", "0", "-"]
    assert missing == "1 rounds are missing: run it again with the same --results"


@pytest.mark.parametrize(
    ("size", "code", "output", "wrong"),
    [
        ("none", 0, "", False),
        ("none", 1, "", True),
        ("none", 4, "", True),
        ("large", 1, "{failed}\nGIL contention regression: wait\n  service.py:3 store", False),
        ("large", 1, "{failed}\nGIL contention regression: wait", True),
        ("large", 1, "GIL contention regression: wait\n  service.py:3 store", True),
        ("large", 0, "", True),
        ("large", 2, "{failed}\nGIL contention regression: wait\n  service.py:3 store", True),
    ],
)
def test_what_counts_as_wrong(size: str, code: int, output: str, wrong: bool) -> None:
    output = output.format(failed=f"FAILED test_service.py::{PROJECT.test} - Failed")
    done = subprocess.CompletedProcess([], code, output)
    assert demo.is_wrong(CELL._replace(size=size), done) == wrong
