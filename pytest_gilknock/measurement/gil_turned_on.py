"""Fails a run in which something turned the GIL on, in this process or in a worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pytest

from pytest_gilknock.measurement import gil_watch
from pytest_gilknock.measurement.transport import has_workers, is_worker


class FailsForGil(ABC):
    """Plugin object that fails a run at its end that would pass although the GIL is on.

    A worker of pytest-xdist says why in its last message, by ``key``; one that crashed says
    nothing. ``set_by`` names the option or ini key that has the run fail.
    """

    def __init__(self, key: str, set_by: str) -> None:
        self._key = key
        self._set_by = set_by
        self._objection: str | None = None

    @abstractmethod
    def objection_to(self, session: pytest.Session) -> str | None:
        """Return why the run of a process that has its GIL on fails; None if it does not."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker says; the first of those that have something to say is kept."""
        message: dict[str, Any] = getattr(node, "workeroutput", None) or {}
        self._objection = self._objection or message.get(self._key)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail a run that would pass; a worker says why."""
        if exitstatus == pytest.ExitCode.USAGE_ERROR:
            return  # no test ran
        if not has_workers(session.config) and gil_watch.gil_enabled():
            self._objection = self.objection_to(session)
        if self._objection is None:
            return
        if is_worker(session.config):
            session.config.workeroutput[self._key] = self._objection  # type: ignore[attr-defined]
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say why the run fails."""
        if self._objection is not None:
            terminalreporter.write_line(f"{self._objection}; set by {self._set_by}", red=True)
