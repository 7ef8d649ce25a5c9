"""The plugin object that records every hold and wait of a run, and which test ran when."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from pytest_gilknock import _core
from pytest_gilknock.measurement.transport import has_workers
from pytest_gilknock.render.format import error_text

if TYPE_CHECKING:
    from pytest_gilknock.model.reading import AskedMethod
    from pytest_gilknock.model.wire import RawSpan, RawThread, RunExtras


class TraceRecorder:
    """Adds the trace of its process to the run's report; keeps the latest ``events``."""

    def __init__(
        self, config: pytest.Config, method: AskedMethod, events: int, extras: RunExtras
    ) -> None:
        workerinput: dict[str, str] = getattr(config, "workerinput", {})
        self._process = workerinput.get("workerid", "pytest")
        self._method = method
        self._events = events
        self._extras = extras
        self._spans: list[RawSpan] = []

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Record while the tests run."""
        if has_workers(session.config):
            return (yield)
        window = _core.Window(method=self._method, trace=self._events)
        trouble: str | None = None
        try:
            window.begin()
        except MemoryError:
            trouble = f"there is no memory for {self._events} events"
        except Exception as error:
            trouble = error_text(error)
        began = _core.ticks(), time.monotonic_ns()
        try:
            return (yield)
        finally:
            raw, reason = None, trouble
            threads: list[RawThread] = []
            if trouble is None:
                try:
                    reading = window.end()
                    raw, threads = window.take_trace(), reading["threads"]
                    reason = reading["reason"]
                except Exception as error:
                    reason = error_text(error)
            self._extras["trace"] = {
                "process": self._process,
                "pid": os.getpid(),
                "raw": raw,
                "clock": raw["clock"] if raw is not None else _clock_since(*began),
                "reason": reason,
                "threads": threads,
                "spans": self._spans,
            }

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note when a test runs, with all of its phases."""
        return (yield from self._note(item, ""))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note when it is set up."""
        return (yield from self._note(item, "setup"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note when it is called."""
        return (yield from self._note(item, "call"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note when it is torn down."""
        return (yield from self._note(item, "teardown"))

    def _note(self, item: pytest.Item, phase: str) -> Generator[None, object, object]:
        started = _core.ticks()
        try:
            return (yield)
        finally:
            self._spans.append((item.nodeid, phase, started, _core.ticks()))


def _clock_since(ticks: int, nanoseconds: int) -> tuple[int, int, float]:
    """Compare the core's clock with the monotonic one; see ``RawTrace``."""
    now, monotonic = _core.ticks(), time.monotonic_ns()
    return now, monotonic, (monotonic - nanoseconds) / max(1, now - ticks)
