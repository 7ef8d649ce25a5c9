"""The plugin object that annotates broken limits and gates in GitHub Actions. Only used there."""

from __future__ import annotations

import os

import pytest

from pytest_gilknock.model import wire
from pytest_gilknock.render.format import error_text, printable
from pytest_gilknock.reporting.github import Annotation, is_in_repository, workflow_commands

ANNOTATES_FAILURES = "pytest_github_actions_annotate_failures"
"""The plugin that annotates every failed test; with it ours would be the second."""


def _place(annotation: Annotation) -> tuple[str, int]:
    return annotation.file, annotation.line or 0


class Annotator:
    """Lives in the process that prints: the only one, or the controller of pytest-xdist."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._annotations: list[Annotation] = []
        self._without: list[tuple[str, str]] = []
        """Tests that get no annotation, and why."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.failed or not getattr(report, wire.BREACH, False):
            return
        try:
            self._annotations.append(self._annotation_of(report))
        except Exception as error:  # it would end the run with an internal error
            self._without.append((report.nodeid, error_text(error)))

    def _annotation_of(self, report: pytest.TestReport) -> Annotation:
        words = str(report.longrepr)
        file, line, name = report.location
        place = os.path.join(self._config.rootpath, file), None if line is None else line + 1
        title = printable(f"{name}: {words.splitlines()[0]}")
        blamed: tuple[str, int] | None = getattr(report, wire.BLAMED, None)
        root = str(self._config.rootpath)
        if blamed is not None and is_in_repository(blamed[0], root, os.environ):
            words += f"\nin {file}{'' if line is None else f':{line + 1}'} {name}"
            place = os.path.join(root, blamed[0]), blamed[1]
        return Annotation(*place, title=title, message=words)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._config.pluginmanager.has_plugin(ANNOTATES_FAILURES):
            return
        try:
            annotations = sorted(self._annotations, key=_place)
            commands = [*workflow_commands(annotations, os.environ)]
        except Exception as error:  # it would end the run with an internal error
            commands = [f"GIL annotations could not be made: {error_text(error)}"]
        for line in commands:
            terminalreporter.write_line(line)
        for nodeid, reason in self._without:
            words = f"No GIL annotation of {printable(nodeid)}: {reason}"
            terminalreporter.write_line(words, yellow=True)
