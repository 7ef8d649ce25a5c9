"""What docs/ci.md writes down is what there is, and its workflows do what they say."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from regression_demo import demo

from pytest_gilknock import _core
from pytest_gilknock.gate.expression import parse_gate

PAGE = Path(__file__).parents[2].joinpath("docs", "ci.md").read_text(encoding="utf-8")
PROJECT = next(project for project in demo.PROJECTS if project.name == "native")

# So much work is over the gate on a machine that has many other things to do, too.
REGRESSION = demo.Change("waiting.usleep(4000)", "sum(range(400_000))")


SAVES = "for run in 1 2 3 4 5 6 7 8; do"


def shortened(script: str) -> str:
    """A regression so large needs no eight saved runs, and gates that a busy machine keeps, too."""
    for written, short in (
        (SAVES, "for run in 1 2; do"),
        ("'wait:50ms&40%'", "'wait:2s&100%'"),
        ("'contention:0.1'", "'contention:0.9'"),
    ):
        script = script.replace(written, short)
    return script


def test_its_gates_are_gates() -> None:
    written = re.findall(r"--(?:gil-compare-)?fail[= ]'([^']*)'", PAGE)
    assert len(written) > 5
    for gate in written:
        assert str(parse_gate(gate)) == gate


# --- the workflows, without their servers ----------------------------------------------------


def only(pattern: str, text: str) -> str:
    """The one thing that ``pattern`` finds in ``text``."""
    (found,) = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    return str(found)


def section(title: str) -> str:
    return only(rf"^## {title}[^\n]*\n(.*?)^## ", PAGE)


def github() -> list[list[str]]:
    """GitHub runs each step by a shell of its own, in the workspace."""
    workflow = only(r"^```yaml\n(.*?)^```", section("GitHub Actions").partition("### ")[0])
    steps = re.findall(r"^        run: \|\n((?: {10}.*\n)+)", workflow, re.MULTILINE)
    return [["bash", "-e", "-c", textwrap.dedent(step)] for step in steps]


def gitlab() -> list[list[str]]:
    """GitLab's runner puts all lines into one script. YAML joins those that are further in."""
    workflow = only(r"^```yaml\n(.*?)^```", section("GitLab CI"))
    lines = only(r"^  script:\n((?: {4}[^\n]*\n)+)", workflow)
    joined = re.sub(r"\n {6}", " ", lines)
    return [["bash", "-eo", "pipefail", "-c", re.sub(r"^ {4}- ", "", joined, flags=re.MULTILINE)]]


def jenkins() -> list[list[str]]:
    script = only(r"sh '''\n(.*?)^ *'''", section("Jenkins"))
    return [["sh", "-xe", "-c", textwrap.dedent(script)]]


class Repository:
    """A clone of the demonstration's project, its target branch ``main``, and a change."""

    def __init__(self, folder: Path) -> None:
        self.upstream, self.path, self.temp = (
            folder / name for name in ("upstream", "work", "temp")
        )
        self.temp.mkdir()
        self.upstream.mkdir()
        self.git("init", "--quiet", "--initial-branch=main", ".", at=self.upstream)
        demo.write_project(PROJECT, self.upstream)
        self.git("add", ".", at=self.upstream)
        self.git("commit", "--quiet", "--message=The service", at=self.upstream)
        self.git("clone", "--quiet", str(self.upstream), str(self.path), at=folder)
        self.git("checkout", "--quiet", "-b", "change")
        # What pip would install is there, and the tests stay away from the network.
        python = folder / "bin" / "python"
        python.parent.mkdir()
        python.write_text(
            '#!/bin/sh\ncase "$1 $2" in "-m pip") exit 0;; esac\n'
            f'exec {shlex.quote(sys.executable)} "$@"\n'
        )
        python.chmod(0o755)

    def git(self, *arguments: str, at: Path | None = None) -> str:
        person = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        command = ["git", *person, *arguments]
        done = subprocess.run(
            command, cwd=at or self.path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, change: demo.Change | None) -> None:
        demo.apply(PROJECT, self.path, change)
        self.git("commit", "--quiet", "--allow-empty", "--all", "--message=A change")

    def run(self, jobs: list[list[str]]) -> "subprocess.CompletedProcess[str]":
        """Run the scripts of a job one after the other, up to the first that fails."""
        home = str(self.path)
        variables = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_BASE_REF": "main",
            "GITHUB_STEP_SUMMARY": str(self.temp / "summary.md"),
            "GITHUB_WORKSPACE": home,
            "RUNNER_TEMP": str(self.temp / "runner"),
            "CI_PROJECT_DIR": home,
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": self.git("merge-base", "origin/main", "HEAD"),
            "STORAGE": f"{home}/.gilknock",
            "CHANGE_TARGET": "main",
            "WORKSPACE": home,
            "PATH": f"{self.upstream.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "TMPDIR": str(self.temp),
            # Other plugins of this environment only take time.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "-p pytest_gilknock.plugin",
        }
        for *shell, script in jobs:
            done = subprocess.run(
                [*shell, shortened(script)],
                cwd=self.path,
                env={**os.environ, **variables},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
                check=False,
            )
            if done.returncode != 0:
                break
        return done


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


@pytest.mark.skipif(_core.status()[0] != "exact", reason="the demonstration is of exact readings")
@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("ci", [github, gitlab, jenkins])
def test_its_workflows_pass_a_harmless_change_and_fail_a_regression(
    repository: Repository, ci: "type[list[list[str]]]"
) -> None:
    jobs = ci()
    assert len(jobs) == (2 if ci is github else 1)
    assert sum(script.count(SAVES) for *_, script in jobs) == 1
    repository.commit(None)
    green = repository.run(jobs)
    assert green.returncode == 0, green.stdout
    assert "2 tests of this run compared with 0001_target.json, 0002_target.json" in green.stdout

    # The same workspace again, as a runner keeps it.
    if ci is github:
        subprocess.run(["rm", "-rf", str(repository.temp / "runner")], check=True)
    repository.commit(REGRESSION)
    red = repository.run(jobs)
    assert red.returncode == 1, red.stdout
    assert "GIL contention regression: wait" in red.stdout
    if ci is github:
        assert re.search(
            r"^::error file=(test_)?service\.py,line=\d+,title=", red.stdout, re.MULTILINE
        )
        assert "| **!** | wait |" in (repository.temp / "summary.md").read_text()
        return
    (failed,) = [
        case
        for case in ElementTree.parse(repository.path / "report.xml").iter("testcase")
        if case.find("failure") is not None
    ]
    failure = failed.find("failure")
    assert failure is not None
    assert "service.py:" in str(failure.text)
    if ci is gitlab:
        assert failed.get("file") == "test_service.py"
    properties = {one.get("name"): one.get("value") for one in failed.iter("property")}
    assert {"gil_baseline_wait_s", "gil_change_wait_s"} <= properties.keys()
    assert properties["gil_attempts"] in {"3", "4", "5"}
