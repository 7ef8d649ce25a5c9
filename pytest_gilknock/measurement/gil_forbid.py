"""The plugin object of ``--gil-forbid``: no test may run with the GIL."""

from __future__ import annotations

import sysconfig
from collections.abc import Generator
from typing import Any

import pytest

from pytest_gilknock.measurement import gil_watch
from pytest_gilknock.measurement.expected_failures import is_expected_to_fail
from pytest_gilknock.measurement.gil_turned_on import GilTurnedOn
from pytest_gilknock.measurement.tracebacks import raised_at_test
from pytest_gilknock.measurement.transport import fail_worker, has_workers, is_worker
from pytest_gilknock.render.format import printable


def check_interpreter(source: str) -> None:
    """Raise pytest.UsageError if this interpreter has its GIL whatever is imported.

    ``source`` names where the option was given.
    """
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise pytest.UsageError(
            f"{source}: this Python always has its GIL; run it with a free-threaded one"
        )
    if gil_watch.gil_enabled() and gil_watch.found() is None:
        raise pytest.UsageError(
            f"{source}: the GIL is on already, by PYTHON_GIL=1, -X gil=1, or a module that was"
            " imported before this plugin could watch"
        )


def _words(config: pytest.Config) -> str:
    enabler = gil_watch.found()
    by = f" by {printable(enabler.text(str(config.rootpath)))}" if enabler is not None else ""
    return f"the GIL is enabled{by}"


class GilForbid:
    """Refuses to run tests with the GIL on; fails the test that turns it on, and with it the run.

    The run is judged once more at its end: a test that skips, is expected to fail or is run again
    has another outcome than that.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._turned_on = GilTurnedOn("gilknock_gil_turned_on")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Refuse to run tests with the GIL on."""
        if has_workers(session.config) or not gil_watch.gil_enabled():
            return
        words = f"{self._source}: {_words(session.config)}"
        if is_worker(session.config):
            fail_worker(session.config, words)
        raise pytest.UsageError(words)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self._watch(item))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self._watch(item))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self._watch(item))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Learn from a worker of pytest-xdist that its GIL is on."""
        self._turned_on.learn_from(node)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail a run that would pass although the GIL is on."""
        if exitstatus == pytest.ExitCode.USAGE_ERROR:
            return  # it was refused
        if not has_workers(session.config) and gil_watch.gil_enabled():
            self._turned_on.words = _words(session.config)
        self._turned_on.fail(session)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what turned the GIL on."""
        if self._turned_on.words is not None:
            words = f"GIL forbidden: {self._turned_on.words}; set by {self._source}"
            terminalreporter.write_line(words, red=True)

    def _watch(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        before = gil_watch.gil_enabled()
        result = yield
        if gil_watch.gil_enabled() and not before and not is_expected_to_fail(item):
            words = f"GIL forbidden: {_words(item.config)}\n  set by {self._source}"
            raise raised_at_test(item, pytest.fail.Exception(words, pytrace=False))
        return result
