"""The plugin objects that measure tests, in whichever process runs them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gilknock import _core
from pytest_gilknock.measurement.expected_failures import is_expected_to_fail
from pytest_gilknock.measurement.gil_watch import gil_enabled
from pytest_gilknock.measurement.other_plugins import may_run_tests_otherwise
from pytest_gilknock.measurement.report_hooks import write_on_reports
from pytest_gilknock.measurement.tracebacks import raised_at_test
from pytest_gilknock.measurement.transport import PENDING, Pending, has_workers
from pytest_gilknock.model.limits import Limit, judge
from pytest_gilknock.model.reading import GilReading, lazy_reading
from pytest_gilknock.model.wire import encodable
from pytest_gilknock.render import junit
from pytest_gilknock.render.format import error_text
from pytest_gilknock.render.places import worst_place
from pytest_gilknock.render.reading_text import breach_text

if TYPE_CHECKING:
    from pytest_gilknock.measurement.markers import PhaseLimits
    from pytest_gilknock.measurement.settings import MeasurementSettings
    from pytest_gilknock.measurement.transport import Sink
    from pytest_gilknock.model.wire import PhaseRecord, RawReading, RunExtras


class Meter:
    """Measures the tests that ask for it and judges them by their limits.

    Leaves each reading with its item for its report, or at once in ``sink`` where nothing else of
    the test is shown (see :meth:`use_reports`); the totals of this process in ``sink``.
    ``default_limits`` are those of tests without markers, by phase. Tests without limits that last
    less than ``shortest`` (s) are only counted. ``properties`` says which tests get some.
    ``travels`` says that readings are sent to another process.
    """

    def __init__(
        self,
        settings: MeasurementSettings,
        sink: Sink,
        default_limits: PhaseLimits,
        *,
        shortest: float,
        properties: str,
        travels: bool,
    ) -> None:
        self._settings = settings
        self._shortest = shortest
        self._properties = properties
        self._travels = travels
        self._sink = sink
        self._by_report = False
        self._default = default_limits
        self.limits: dict[pytest.Item, PhaseLimits] = {}  # of the tests with markers
        self._gil_enabled = gil_enabled()
        self.extras: RunExtras = {}  # filled while the tests run, by what is asked for
        self.pytest_runtest_call = self.measuring("call")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Hold one window open over all tests, for waits that outlast the test they begin in."""
        __tracebackhide__ = True
        if has_workers(session.config):
            return (yield)  # the tests run in other processes
        if may_run_tests_otherwise(session.config):
            self.use_reports(session.config)
        had_gil, self._gil_enabled = self._gil_enabled, gil_enabled()
        turned_on = self._gil_enabled and not had_gil
        with (
            _knock_interval(self._settings.knock_interval, self._sink),
            self._run_window(turned_on),
        ):
            return (yield)

    @contextmanager
    def _run_window(self, turned_on: bool) -> Iterator[None]:
        """Have the totals of this process measured, or said why they cannot be."""
        trouble: Exception | None = None
        try:
            windows_cost, knocks_held = _core.cost()
            window = _core.Window(
                method=self._settings.method, threads=False, locks=self._settings.locks
            )
            window.begin()
        except Exception as error:
            trouble = error
        try:
            yield
        finally:
            if trouble is None:
                try:
                    raw = window.end()
                    now = _core.cost()
                    self._sink.add_run(
                        {
                            "raw": raw,
                            "windows_cost": now[0] - windows_cost,
                            "knocks_held": now[1] - knocks_held,
                            "gil_turned_on": turned_on,
                            **self.extras,
                        }
                    )
                except Exception as error:
                    trouble = error
            if trouble is not None:
                self._sink.add_unmeasured_run(error_text(trouble))

    def use_reports(self, config: pytest.Config) -> None:
        """Hand all readings to the reports of their tests from now on."""
        self._by_report = True
        write_on_reports(config, self._sink)

    def measuring(self, phase: str) -> Callable[[pytest.Item], Generator[None, object, object]]:
        """Return the hook that measures a phase of each test.

        It is the innermost wrapper, so that the window holds the test and nothing of other plugins.
        It is a single generator: delegating to another one would make it slower by a fifth.
        """
        options = _window_options(self._settings, audit=self._settings.audit)
        too_short = Pending(phase, None)

        @pytest.hookimpl(wrapper=True, trylast=True)
        def measure(item: pytest.Item) -> Generator[None, object, object]:
            """Run the phase, in a window if it is to be measured; raise at a broken limit."""
            __tracebackhide__ = True
            phases = self.limits.get(item, self._default) if self.limits else self._default
            limits = phases.get(phase)
            if limits is None:
                return (yield)
            if hasattr(item, PENDING):  # of a run that nobody reported
                delattr(item, PENDING)
            pending = too_short
            try:
                if limits and any(limit.kind in NEED_MORE for limit in limits):
                    window = _core.Window(**_options_for(self._settings, limits))
                else:
                    window = _core.Window(**options)
                window.begin()
            except Exception as error:
                pending = _unmeasured(phase, limits, error)
            if pending.unmeasured is not None:
                self.use_reports(item.config)
                setattr(item, PENDING, pending)
                return (yield)
            try:
                result = yield
            except BaseException:
                pending = self._cut_off(item, phase, window, limits)
                self.use_reports(item.config)
                setattr(item, PENDING, pending)
                raise
            try:
                raw = window.end(0.0 if limits else self._shortest)
                if raw is not None:
                    record = self._record(item, phase, raw, limits)
                    every_test = self._default.get(phase, ())
                    failure = _judge(item, record, limits, every_test) if limits else None
                    pending = Pending(phase, record, failure)
            except Exception as error:
                pending = _unmeasured(phase, limits, error)
                self.use_reports(item.config)
            if self._by_report:
                setattr(item, PENDING, pending)
                if pending.failure is not None:
                    raise pending.failure
            else:
                self._sink.add_phase(item.nodeid, "passed", pending.record)
            return result

        return measure

    def _cut_off(
        self, item: pytest.Item, phase: str, window: _core.Window, limits: tuple[Limit, ...]
    ) -> Pending:
        """Return what was measured of a phase that raises."""
        try:
            return Pending(phase, self._record(item, phase, window.end(), limits))
        except Exception as error:
            return _unmeasured(phase, limits, error)

    def _record(
        self, item: pytest.Item, phase: str, raw: RawReading, limits: tuple[Limit, ...]
    ) -> PhaseRecord:
        """Return what a report carries of a phase; give its test the properties that it is to have.

        ``limits`` are those of the phase.
        """
        record: PhaseRecord = {"phase": phase, "raw": encodable(raw) if self._travels else raw}
        if raw["gil_enabled"] != self._gil_enabled:
            self._gil_enabled = record["gil_turned_on"] = raw["gil_enabled"]
        wanted = self._properties
        if phase == "call" and (limits if wanted == "limited" else wanted != "none"):
            reading = lazy_reading(record["raw"])
            blame = worst_place(reading, str(item.config.rootpath))
            properties = junit.reading_properties(reading, blame)
            junit.set_properties(item.user_properties, properties)
        return record


def _unmeasured(phase: str, limits: tuple[Limit, ...], error: Exception) -> Pending:
    """Return that a phase could not be measured, or its limits not be judged: no error of a
    measurement fails a test.
    """
    return Pending(phase, None, unmeasured=(error_text(error), bool(limits)))


class OuterPhases:
    """Measures setup and teardown as well; only needed where a marker asks for them."""

    def __init__(self, meter: Meter) -> None:
        self.pytest_runtest_setup = meter.measuring("setup")
        self.pytest_runtest_teardown = meter.measuring("teardown")


@contextmanager
def _knock_interval(seconds: float | None, sink: Sink) -> Iterator[None]:
    """Set the mean time between two knocks, and restore it at the end; None leaves it as it is."""
    if seconds is None:
        yield
        return
    with ExitStack() as stack:
        try:
            before = _core.set_knock_interval(seconds)
            stack.callback(_restore_knock_interval, before, sink)
        except Exception as error:
            sink.add_error(f"The knock interval could not be set: {error_text(error)}")
        yield


def _restore_knock_interval(before: float | None, sink: Sink) -> None:
    try:
        _core.set_knock_interval(before)
    except Exception as error:
        sink.add_error(f"The knock interval could not be restored: {error_text(error)}")


NEED_MORE = ("max_wait", "max_hold", "max_lock_wait", "max_stop_the_world")
"""Kinds of limits for which more is measured than in other tests."""

KNOCKS_WITHIN_A_LIMIT = 4
"""A hold that is longer than a limit on waits is found if a knock asks for the GIL soon after its
beginning. On average so many come in a time as long as the limit, and never two of these times
without one: so a hold of one and a half times the limit is found."""

LEAST_KNOCK_INTERVAL = 1e-3
"""Seconds between two such knocks: each costs a thread that computes some 200 us."""


def _options_for(settings: MeasurementSettings, limits: tuple[Limit, ...]) -> dict[str, Any]:
    audit = settings.audit or any(limit.kind == "max_hold" for limit in limits)
    options = _window_options(settings, audit=audit)
    if any(limit.is_on_locks for limit in limits):
        options["locks"] = True
    waits = [limit.bound for limit in limits if limit.kind == "max_wait" and limit.thread is None]
    if waits:
        every = min(waits) / KNOCKS_WITHIN_A_LIMIT
        options["knocks_every"] = min(max(every, LEAST_KNOCK_INTERVAL), 3600.0)
    return options


def _window_options(settings: MeasurementSettings, *, audit: bool) -> dict[str, Any]:
    """Return the options of a window; each that it need not read makes it cheaper."""
    options: dict[str, Any] = {}
    if settings.method != "auto":
        options["method"] = settings.method
    if settings.locks is not None:
        options["locks"] = settings.locks
    if audit:
        options["audit"] = True
    return options


def _judge(
    item: pytest.Item,
    record: PhaseRecord,
    limits: tuple[Limit, ...],
    of_every_test: tuple[Limit, ...],
) -> BaseException | None:
    reading = GilReading.from_raw(record["raw"])
    verdicts = [verdict for limit in limits if (verdict := judge(reading, limit)) is not None]
    broken = [verdict.limit for verdict in verdicts if verdict.breached]
    if not set(of_every_test).isdisjoint(broken) and is_expected_to_fail(item):
        own = tuple(limit for limit in limits if limit not in of_every_test)
        return _judge(item, record, own, ())
    # A report may travel to another process, and only plain data can go with it.
    record["limits"] = [limit.plain for limit in limits]
    record["verdicts"] = [(limit.plain, breached, fact) for limit, breached, fact in verdicts]
    if not broken:
        return None
    words = breach_text(reading, verdicts, record["phase"], root=str(item.config.rootpath))
    return raised_at_test(item, pytest.fail.Exception(words, pytrace=False))
