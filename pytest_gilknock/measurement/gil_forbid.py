"""The plugin object of ``--gil-forbid``: no test may run with the GIL."""

from __future__ import annotations

import sysconfig
from collections.abc import Generator

import pytest

from pytest_gilknock.measurement import gil_watch
from pytest_gilknock.measurement.tracebacks import at_test
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


def _words() -> str:
    enabler = gil_watch.found()
    by = f" by {printable(enabler.text)}" if enabler is not None else ""
    return f"the GIL is enabled{by}"


class GilForbid:
    """Ends a run whose imports turn the GIL on, and fails the test that does."""

    def __init__(self, source: str) -> None:
        self._source = source

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Refuse to run tests with the GIL on."""
        if has_workers(session.config) or not gil_watch.gil_enabled():
            return
        words = f"{self._source}: {_words()}"
        if is_worker(session.config):
            fail_worker(session.config, words)
        raise pytest.UsageError(words)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self._watch(item))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self._watch(item))

    def _watch(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        before = gil_watch.gil_enabled()
        result = yield
        if gil_watch.gil_enabled() and not before:
            words = f"GIL forbidden: {_words()}\n  set by {self._source}"
            raise at_test(item, pytest.fail.Exception(words, pytrace=False))
        return result
