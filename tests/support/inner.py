"""What tests of the whole plugin share: runs of pytest inside a test, and what they need."""

from __future__ import annotations

import os
import shlex
from importlib.metadata import entry_points

import pytest

from pytest_gilknock import _core
from pytest_gilknock.render.lines import heading

METHOD, REASON = _core.status()

exact = pytest.mark.skipif(METHOD != "exact", reason=f"no accounting here: {REASON}")

disabled = pytest.mark.skipif(METHOD != "disabled", reason="the GIL is enabled")

WITHOUT = ("asyncio", "rerunfailures")


# The plugins that inner runs may have: this one, and those whose company is tested.
COMPANY = {"gilknock", "asyncio", "rerunfailures", "subtests", "timeout", "xdist"}

# What a CI or a user sets for the run around: pytest and plugins act on it.
SURROUNDINGS = {"CI", "BUILD_NUMBER", "PYTEST_ADDOPTS", "PYTEST_PLUGINS"}

# pytest-asyncio warns in runs that do not say it, pytest in runs without pytest-asyncio that do.
ASYNCIO_SCOPE = (
    "-oasyncio_default_fixture_loop_scope=function",
    "-Wignore:Unknown config option:pytest.PytestConfigWarning",
)


def seal_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the processes of inner runs an environment without the CI's and this run's settings."""
    for name in list(os.environ):
        if name in SURROUNDINGS or name.startswith(("GITHUB_", "PYTEST_DISABLE_")):
            monkeypatch.delenv(name)
    strangers = {plugin.name for plugin in entry_points(group="pytest11")} - COMPANY
    # Whoever measures coverage here may have imported the package before pytest could rewrite it.
    silent = "-Wignore::pytest.PytestAssertRewriteWarning"
    without = (f"-pno:{name}" for name in sorted(strangers))
    monkeypatch.setenv("PYTEST_ADDOPTS", shlex.join([silent, *ASYNCIO_SCOPE, *without]))


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """Run pytest in this process, without the plugins that take time and have no part in it."""
    return pytester.runpytest_inprocess(*(f"-pno:{name}" for name in WITHOUT), *args)


def section(result: pytest.RunResult) -> list[str]:
    """The lines of our section of the terminal."""
    lines = result.outlines
    heads = [f" {heading(without_gil=without_gil)} " for without_gil in (False, True)]
    found = (n for n, line in enumerate(lines) if any(head in line for head in heads))
    start = next(found, None)
    if start is None:
        return []
    ends = (n for n, line in enumerate(lines) if n > start and line.startswith("="))
    return lines[start + 1 : next(ends, len(lines))]
