"""Under pytest-xdist workers measure: their reports and last words carry it to the controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from pytest_gilknock.measurement.outlet import Outlet
    from pytest_gilknock.model.wire import Measured, RunTotals

_MEASURED = "gilknock"  # on a test report
_TOTALS = "gilknock_totals"  # in what a worker tells at its end, as is the next
_USAGE_ERROR = "gilknock_usage_error"


def is_worker(config: pytest.Config) -> bool:
    """Return whether this process runs tests for another one."""
    return hasattr(config, "workerinput")


def is_controller(session: pytest.Session) -> bool:
    """Return whether this process has others run its tests."""
    return session.config.pluginmanager.has_plugin("dsession")


def fail_worker(config: pytest.Config, text: str) -> NoReturn:
    """End this worker before it runs a test, and have its controller end with a usage error."""
    _last_words(config)[_USAGE_ERROR] = text
    pytest.exit(text, returncode=pytest.ExitCode.USAGE_ERROR)


class WorkerOutlet:
    """Sends readings to the controller."""

    def __init__(self, config: pytest.Config) -> None:
        self._last_words = _last_words(config)

    def take_test(self, report: pytest.TestReport, measured: Measured) -> None:
        setattr(report, _MEASURED, measured)

    def take_run(self, totals: RunTotals) -> None:
        self._last_words[_TOTALS] = totals


class Controller:
    """Plugin object that passes what workers send to ``outlet``."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the reading off the report: pytest keeps reports until the end, many of them."""
        measured: Measured | None = report.__dict__.pop(_MEASURED, None)
        if measured is not None:
            self._outlet.take_test(report, measured)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take a worker's last words; one that crashed has none."""
        words: dict[str, Any] = getattr(node, "workeroutput", None) or {}
        if _USAGE_ERROR in words:
            raise pytest.UsageError(words[_USAGE_ERROR])
        if _TOTALS in words:
            self._outlet.take_run(words[_TOTALS])


def _last_words(config: pytest.Config) -> dict[str, Any]:
    output: dict[str, Any] = config.workeroutput  # type: ignore[attr-defined]
    return output
