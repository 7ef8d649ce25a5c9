"""The plugin object that has stalls watched: no thread can get the GIL for a second, say.

The stacks are written by faulthandler, which needs no GIL for it: by the handler of a signal that
is kept for that, which the watching thread calls in a copy of the process. pytest's own use of
faulthandler (its watchdog, and the handlers of fatal signals) is left alone.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, ClassVar

import pytest

from pytest_gilknock import _core
from pytest_gilknock.measurement.transport import has_workers, is_worker
from pytest_gilknock.render.format import error_text, printable

if TYPE_CHECKING:
    from pytest_gilknock.measurement.transport import Sink
    from pytest_gilknock.model.wire import RunExtras


class StallWatch:
    """Has knocks watched that nobody answers, and adds the stalls to the run's report.

    A process has one watch. A run inside a test of another run has it meanwhile, and gives it back.
    """

    _runs: ClassVar[list[StallWatch]] = []
    """Those of the runs that go on, the innermost last."""

    def __init__(
        self, config: pytest.Config, timeout: float, extras: RunExtras, sink: Sink
    ) -> None:
        self._timeout = timeout
        self._extras = extras
        self._sink = sink
        self._stderr = _real_stderr(config)
        self._label = ""
        self._files = -1, 0  # the scratch file, and the signal whose handler writes to it
        if is_worker(config):
            config.pluginmanager.register(BetweenTests(self))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Watch while the tests run."""
        if has_workers(session.config):
            return (yield)
        with self._watching():
            return (yield)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        stack = ExitStack()
        with self._telling_errors():
            self._start(stack)
        try:
            yield
        finally:
            with self._telling_errors():
                stack.close()

    @contextmanager
    def _telling_errors(self) -> Iterator[None]:
        """Keep an error from the tests; the report says that stalls may be missing."""
        try:
            yield
        except Exception as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        self._sink.add_error(f"Stalls may be missing: {error_text(error)}")

    def _start(self, stack: ExitStack) -> None:
        """Begin to watch; ``stack`` gets what ends it."""
        scratch = _scratch_file(stack)
        number = _core.free_signal() if scratch >= 0 else 0
        # Without chain: the signal's default action would end the process.
        if number:
            faulthandler.register(number, file=scratch, all_threads=True, chain=False)
            stack.callback(faulthandler.unregister, number)
        self._files = scratch, number
        if self._runs:
            self._runs[-1]._take_stalls()
        self._runs.append(self)
        stack.callback(self._give_back)
        stack.callback(self._end)
        self._begin()

    def _begin(self) -> None:
        _core.label_stalls(self._label)
        _core.watch_stalls(self._timeout, self._stderr, *self._files)

    def _end(self) -> None:
        _core.unwatch_stalls()
        _core.label_stalls("")
        self._take_stalls()

    def _give_back(self) -> None:
        self._runs.remove(self)
        if self._runs:
            self._runs[-1]._begin()

    def label(self, test: str) -> None:
        """Name the test that runs; "" for none."""
        try:
            self._label = printable(test)
            _core.label_stalls(self._label)
        except Exception as error:
            self._tell(error)

    def _take_stalls(self) -> None:
        stalls, omitted = _core.take_stalls()
        self._extras["stalls"] = self._extras.get("stalls", []) + stalls
        self._extras["stalls_omitted"] = self._extras.get("stalls_omitted", 0) + omitted

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Name it."""
        self.label(nodeid)

    def pytest_unconfigure(self) -> None:
        """Give up the copy of stderr."""
        _close(self._stderr)


class BetweenTests:
    """Names no test while a worker waits for its next one; elsewhere that follows at once."""

    def __init__(self, watch: StallWatch) -> None:
        self._watch = watch

    def pytest_runtest_logfinish(self) -> None:
        """Name none."""
        self._watch.label("")


def _scratch_file(stack: ExitStack) -> int:
    """Return the descriptor of a file for the stacks, closed by ``stack``; -1 where none is made.

    One in memory where that is possible: the folder for temporary files may be full, or not there.
    """
    try:
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("gilknock-stacks")
            stack.callback(_close, descriptor)
            return descriptor
        return stack.enter_context(tempfile.TemporaryFile()).fileno()
    except OSError:
        return -1


def _close(descriptor: int) -> None:
    with suppress(OSError):  # a test has closed all files
        os.close(descriptor)


def _real_stderr(config: pytest.Config) -> int:
    """Return a copy of the descriptor of stderr as it is without pytest's capturing.

    Where stderr is closed, it is one that leads nowhere; -1 if no descriptor is left.
    """
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
        try:
            descriptor = sys.stderr.fileno()
        except (AttributeError, ValueError, OSError):  # somebody's own object
            descriptor = 2
        with suppress(OSError):
            return os.dup(descriptor)
        with suppress(OSError):
            return os.open(os.devnull, os.O_WRONLY)
        return -1
