"""The plugin object that gathers the readings of a run, prints them and writes them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_gilknock.model.reading import WORTH_A_ROW
from pytest_gilknock.render.format import error_text, printable
from pytest_gilknock.render.lines import Line, heading, write_lines
from pytest_gilknock.reporting import github, terminal
from pytest_gilknock.reporting.results import Results
from pytest_gilknock.reporting.run_lines import urgent_notes

if TYPE_CHECKING:
    from pytest_gilknock.model.wire import PhaseRecord, RunTotals, Unmeasured
    from pytest_gilknock.reporting.settings import ReportingSettings


class Reporter:
    """Lives in the process that prints: the only one, or the controller of pytest-xdist."""

    def __init__(self, config: pytest.Config, settings: ReportingSettings) -> None:
        self._config = config
        self._settings = settings
        self._file_news: list[Line] = []
        self.results = Results(
            top=settings.top,
            sort=settings.sort,
            threshold=WORTH_A_ROW if settings.verbosity < 2 else 0.0,
            keep_all=bool(settings.exports),
            locks=settings.locks,
            root=str(config.rootpath),
        )

    def add_phase(
        self, nodeid: str, outcome: str, record: PhaseRecord | None, *, forked: bool = False
    ) -> None:
        """Count a measured phase of a test."""
        try:
            if record is not None:
                self.results.add(nodeid, outcome, record)
            else:
                self.results.add_short(nodeid)
        except Exception as error:  # it would fail the test, or end the run
            limited = record is not None and "limits" in record
            self.add_unmeasured(nodeid, (error_text(error), limited))
        if forked:
            self.results.forked.add(nodeid)

    def add_unmeasured(self, nodeid: str, unmeasured: Unmeasured) -> None:
        """Keep why a phase of a test could not be measured."""
        self.results.unmeasured.setdefault(nodeid, unmeasured)

    def add_unmeasured_run(self, reason: str) -> None:
        """Keep why a process has no totals."""
        self.results.unmeasured_runs.append(reason)

    def add_error(self, words: str) -> None:
        """Keep what else of the plugin failed."""
        self.results.errors.append(words)

    def add_run(self, totals: RunTotals) -> None:
        """Count one measuring process."""
        self.results.add_process(totals)

    def add_crash(self) -> None:
        """Count a measuring process that crashed."""
        self.results.crashed += 1

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the files that were asked for; one that cannot be written keeps no other back."""
        if exitstatus == pytest.ExitCode.USAGE_ERROR:
            return
        for export in self._settings.exports:
            path = printable(export.path)
            try:
                export.write(self.results)
                caveats = [*export.report.caveats(self.results)]
            except OSError as error:
                reason = error.strerror or str(error) or type(error).__name__
            except Exception as error:  # it would cost the summary of all tests
                reason = error_text(error)
            else:
                self._file_news.append(Line(f"GIL readings written to {path}"))
                self._file_news += (Line(printable(caveat), yellow=True) for caveat in caveats)
                continue
            self._file_news.append(Line(f"{export.source}: {path}: {printable(reason)}", red=True))
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the section, or only what must be known where no table was asked for."""
        try:
            lines = self._section()
        except Exception as error:  # it would end the run with an internal error
            lines = [Line(f"This report could not be made: {error_text(error)}", red=True)]
        if lines:
            terminalreporter.write_sep("=", self._heading())
        write_lines(terminalreporter, lines + self._file_news + self._append_summary())

    def _heading(self) -> str:
        try:
            return heading(without_gil=self.results.summary().disabled)
        except Exception:  # it would end the run with an internal error, and the section says why
            return heading(without_gil=False)

    def _section(self) -> list[Line]:
        results, settings = self.results, self._settings
        width = self._config.get_terminal_writer().fullwidth
        if settings.report and results.tests:
            return terminal.section(
                results, width=width, verbosity=settings.verbosity, audit=settings.audit
            )
        audited = settings.audit and results.tests
        lines = list(terminal.audit_lines(results, width)) if audited else []
        return [*lines, *urgent_notes(results)]

    def _append_summary(self) -> list[Line]:
        """Write the report into GitHub's step summary, unless a comparison is written there."""
        wanted = self._settings.report and self.results.tests and not self._settings.compares
        if not wanted or not github.is_running(os.environ):
            return []
        try:
            github.append_summary(terminal.as_markdown(self.results), os.environ)
        except Exception as error:
            return [Line(f"GITHUB_STEP_SUMMARY: {error_text(error)}", yellow=True)]
        return []
