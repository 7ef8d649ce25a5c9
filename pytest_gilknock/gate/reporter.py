"""The plugin object that prints the comparison and saves the baseline."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gilknock.baseline import environment
from pytest_gilknock.baseline.model import Baseline, BaselineEntry, BaselineError
from pytest_gilknock.baseline.storage import is_path
from pytest_gilknock.gate import io as gate_io
from pytest_gilknock.gate.baseline_runs import BaselineRuns
from pytest_gilknock.gate.result import GATE_RESULT, NOT_JUDGED
from pytest_gilknock.gate.retries import reason_against
from pytest_gilknock.gate.runs import (
    BUSY_SHARE,
    Comparison,
    are_without_gil,
    compare_runs,
    share_of_others,
)
from pytest_gilknock.gate.table import as_markdown, section
from pytest_gilknock.gate.text import busy_text, inconclusive_text, names_of_runs, subject_of
from pytest_gilknock.model.wire import OUTCOMES
from pytest_gilknock.render.format import error_text, printable
from pytest_gilknock.render.lines import heading, write_lines
from pytest_gilknock.reporting import github

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilknock.gate.result import GateResult
    from pytest_gilknock.gate.settings import GateSettings

BEFORE = "gilknock_before"
"""Key of what a worker of pytest-xdist compares with: as a text, since it may be elsewhere."""

BROKEN_OFF = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
"""How a run ends that did not come to its last test."""


class GateReporter:
    """Lives in the process that prints: the only one, or the controller of pytest-xdist.

    ``now`` is a baseline without tests: the conditions of this run. ``show`` takes the comparison
    for the files that are written at the end.
    """

    def __init__(
        self,
        config: pytest.Config,
        settings: GateSettings,
        now: Baseline,
        before: BaselineRuns,
        *,
        caveats: list[str],
        top: int,
        show: Callable[[Comparison], None] | None = None,
    ) -> None:
        self._config = config
        self._settings = settings
        self._now = now
        self._before = before
        self._caveats = caveats
        self._top = top
        self._show = show
        self._measured: dict[str, BaselineEntry] = {}
        self._passed: set[str] = set()
        self._breached: set[str] = set()
        self._repeated: list[GateResult] = []
        self._let_pass: list[str] = []
        self._not_judged: list[str] = []
        self._not_shown: str | None = None
        self._saved: str | None = None
        self._save_error: str | None = None

    def pytest_report_header(self) -> list[str]:
        """Say what this run is compared with, by which gate, before it begins."""
        if self._settings.compare is None:
            return []
        gates = ", ".join(map(str, self._settings.gates))
        line = f"gilknock: compared with {names_of_runs(self._before.names)}" + (
            f"; gate {gates}" if gates else ""
        )
        caveats = [*self._caveats]
        if self._settings.retries and (reason := reason_against(self._config)) is not None:
            caveats.append(f"--gil-compare-retries has no effect: {reason}")
        return [line, *(f"gilknock: warning: {caveat}" for caveat in caveats)]

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give a worker what it compares with."""
        node.workerinput[BEFORE] = self._before.dumps()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the test's entry off its report, unless the test is run again.

        Of a test that a run has twice, as with ``--dist=each``, the one over its gate counts.
        """
        reason: str | None = report.__dict__.pop(NOT_JUDGED, None)
        if reason is not None:
            self._not_judged.append(
                f"{printable(report.nodeid)} was neither compared nor saved: {printable(reason)}"
            )
        result: GateResult | None = report.__dict__.pop(GATE_RESULT, None)
        if result is None or report.outcome not in OUTCOMES:
            return
        nodeid = result["nodeid"]
        if result["breached"]:
            self._breached.add(nodeid)
            self._passed.discard(nodeid)
        if result["breached"] or nodeid not in self._breached:
            self._measured[nodeid] = BaselineEntry(*result["entry"])
            if report.passed:
                self._passed.add(nodeid)
        if result["severity"] and not result["breached"]:
            self._let_pass.append(nodeid)
        if result["attempts"] > 1:
            self._repeated.append(result)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Save the tests that passed: one that failed did not do what a baseline is of.

        First, as the files that others write show the comparison.
        """
        if self._settings.compare is not None and self._show is not None:
            try:
                self._show(self._compared())
            except Exception as error:  # it would end the run with an internal error
                self._not_shown = error_text(error)
        if self._settings.save is None or exitstatus == pytest.ExitCode.USAGE_ERROR:
            return
        if not self._passed:
            self._save_error = "no measured test passed"
            return
        if exitstatus in BROKEN_OFF and not is_path(self._settings.save):
            self._save_error = "the run was broken off, and a numbered run is a whole one"
            return
        tests = {nodeid: self._measured[nodeid] for nodeid in self._passed}
        try:
            commit = environment.commit_of(str(self._config.rootpath))
            self._saved = gate_io.save(
                self._settings, replace(self._now, tests=tests, commit=commit)
            )
        except BaselineError as error:
            self._save_error = str(error)
        except Exception as error:
            self._save_error = error_text(error)
        if self._save_error is not None:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the comparison, and what became of the save."""
        if self._settings.compare is not None:
            head = heading(without_gil=are_without_gil(self._measured.values()))
            terminalreporter.write_sep("=", f"{head} compared")
            try:
                self._print_comparison(terminalreporter)
            except Exception as error:  # it would end the run with an internal error
                self._not_shown = error_text(error)
        if self._not_shown is not None:
            words = f"This comparison could not be shown: {self._not_shown}"
            terminalreporter.write_line(words, red=True)
        for line in self._not_judged:
            terminalreporter.write_line(f"Warning: {line}", yellow=True)
        if self._saved is not None:
            terminalreporter.write_line(self._saved)
            share = share_of_others(self._measured[nodeid] for nodeid in self._passed)
            if share is not None and share >= BUSY_SHARE:
                terminalreporter.write_line(busy_text(share), yellow=True)
        if self._save_error is not None:
            terminalreporter.write_line(f"GIL baseline not saved: {self._save_error}", red=True)

    def _compared(self) -> Comparison:
        return compare_runs(
            self._before,
            self._measured,
            self._settings.gates,
            name="this run",
            caveats=self._caveats,
            notes=[*self._repetitions(), *self._let_passes()],
            attempts=1 + self._settings.retries,
        )

    def _print_comparison(self, terminalreporter: pytest.TerminalReporter) -> None:
        comparison = self._compared()
        verbosity = self._config.option.verbose
        lines = section(
            comparison,
            width=self._config.get_terminal_writer().fullwidth,
            top=self._top if verbosity < 2 else 0,
            everything=verbosity > 1,
        )
        write_lines(terminalreporter, lines)
        if github.is_running(os.environ):
            self._annotate_inconclusive(terminalreporter, comparison)
            self._append_summary(terminalreporter, comparison)

    def _repetitions(self) -> list[str]:
        return [
            f"{printable(result['nodeid'])} was measured {result['attempts']} times,"
            f" and was over the gate in {result['breaches']} of them"
            for result in self._repeated
        ]

    def _let_passes(self) -> list[str]:
        return [
            f"{printable(nodeid)} is over the gate, but is expected to fail, and no gate fails it"
            for nodeid in self._let_pass
        ]

    def _annotate_inconclusive(
        self, terminalreporter: pytest.TerminalReporter, comparison: Comparison
    ) -> None:
        """Have what is over its gate, but not surely, shown on the pull request as well."""
        annotations = [
            github.Annotation(
                file=os.path.join(self._config.rootpath, change.nodeid.partition("::")[0]),
                line=None,
                title=f"{subject_of(change, self._measured[change.nodeid].method)}: over the gate,"
                " but not surely",
                message=inconclusive_text(change),
                level="warning",
            )
            for change in comparison.inconclusive
        ]
        for command in github.workflow_commands(annotations, os.environ):
            terminalreporter.write_line(command)

    def _append_summary(
        self, terminalreporter: pytest.TerminalReporter, comparison: Comparison
    ) -> None:
        try:
            github.append_summary(as_markdown(comparison), os.environ)
        except Exception as error:
            terminalreporter.write_line(f"GITHUB_STEP_SUMMARY: {error_text(error)}", yellow=True)
