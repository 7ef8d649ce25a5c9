"""The plugin object of ``--gil-forbid``: no test may run with the GIL."""

from __future__ import annotations

import sysconfig
from collections.abc import Generator

import pytest

from pytest_gilknock.measurement import gil_watch
from pytest_gilknock.measurement.expected_failures import is_expected_to_fail
from pytest_gilknock.measurement.gil_turned_on import FailsForGil
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


def _forbidden(config: pytest.Config) -> str:
    """Return why a test or a run fails."""
    return f"GIL forbidden: {_enabled(config)}"


def _enabled(config: pytest.Config) -> str:
    """Return that the GIL is on, and by which module where that is known."""
    enabler = gil_watch.found()
    by = f" by {printable(enabler.text(str(config.rootpath)))}" if enabler is not None else ""
    return f"the GIL is enabled{by}"


class GilForbid(FailsForGil):
    """Refuses to run tests with the GIL on; fails the test that turns it on, and with it the run.

    The run is judged once more at its end: a test that skips, is expected to fail or is run again
    has another outcome than that.
    """

    def __init__(self, set_by: str) -> None:
        super().__init__("gilknock_gil_turned_on", set_by)

    def objection_to(self, session: pytest.Session) -> str:
        """Return what turned the GIL on."""
        return _forbidden(session.config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Refuse to run tests with the GIL on."""
        if has_workers(session.config) or not gil_watch.gil_enabled():
            return
        words = f"{self._set_by}: {_enabled(session.config)}"
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

    def _watch(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        before = gil_watch.gil_enabled()
        result = yield
        if gil_watch.gil_enabled() and not before and not is_expected_to_fail(item):
            words = f"{_forbidden(item.config)}\n  set by {self._set_by}"
            raise raised_at_test(item, pytest.fail.Exception(words, pytrace=False))
        return result
