"""Measuring a block of code: ``measure`` and ``assert_releases_gil``."""

from __future__ import annotations

import threading
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar, get_args

from pytest_gilknock.model import units
from pytest_gilknock.model.reading import AskedMethod, GilReading
from pytest_gilknock.model.stack import OWN_THREAD
from pytest_gilknock.model.statistics import wilson_interval
from pytest_gilknock.render.format import current_folder
from pytest_gilknock.render.reading_text import reading_lines

if TYPE_CHECKING:
    from pytest_gilknock._core import Window
    from pytest_gilknock.model.trace import Trace
    from pytest_gilknock.model.wire import RawTrace

Self = TypeVar("Self", bound="measure")

ENOUGH_KNOCKS = 20
"""Knocks below which a sampled reading is no ground for a verdict on a block."""

CALLS_MAY_HOLD = 100e-6
"""Seconds that a thread may hold the GIL in any block: the calls around the native one do."""


class GilNotMeasuredWarning(UserWarning):
    """A check of the GIL could not be made, and so did not fail."""


class measure:
    """Context manager that measures its block; ``reading`` has the result.

    Blocks nest, and may be open in several threads at once, each with an object of its own. With
    ``trace=True``, ``trace`` has every hold of the GIL and every wait for it, the latest million.
    ``locks`` says whether waits for locks are measured, too (``reading.locks``); by default they
    are where the GIL is off.
    Raises ValueError for an unknown ``method``, and on entering RuntimeError where
    ``method="exact"`` cannot be had.
    """

    __slots__ = ("_events", "_locks", "_method", "_raw_trace", "_reading", "_window")

    def __init__(
        self, *, method: AskedMethod = "auto", trace: bool = False, locks: bool | None = None
    ) -> None:
        __tracebackhide__ = True
        if method not in get_args(AskedMethod):
            accepted = ", ".join(get_args(AskedMethod))
            raise ValueError(f"method {method!r} is not one of {accepted}")
        self._method = method
        self._locks = locks
        self._events = 0
        if trace:
            from pytest_gilknock.model.trace import DEFAULT_EVENTS

            self._events = DEFAULT_EVENTS
        self._window: Window | None = None
        self._reading: GilReading | None = None
        self._raw_trace: RawTrace | None = None

    def __enter__(self: Self) -> Self:
        __tracebackhide__ = True
        from pytest_gilknock._core import Window

        if self._window is not None:
            raise RuntimeError("this measure() is open already; nest another one")
        window = Window(method=self._method, trace=self._events, locks=self._locks)
        self._reading = None
        self._raw_trace = None
        window.begin()
        self._window = window
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        window, self._window = self._window, None  # even if a signal's handler raises from here on
        assert window is not None
        raw = window.end()
        self._raw_trace = window.take_trace() if self._events else None
        self._reading = GilReading.from_raw(raw)

    @property
    def reading(self) -> GilReading:
        """What the block measured; inside it, what has been measured so far.

        Raises RuntimeError before the block.
        """
        __tracebackhide__ = True
        if self._window is not None:
            return GilReading.from_raw(self._window.peek())
        if self._reading is None:
            raise RuntimeError("nothing measured yet: use it as 'with measure() as m:'")
        return self._reading

    @property
    def trace(self) -> Trace | None:
        """The holds and waits of the block; ``None`` where its reading is not exact.

        Raises RuntimeError before the block has ended, or if no trace was asked for.
        """
        if not self._events:
            raise RuntimeError("no trace was asked for: use measure(trace=True)")
        if self._reading is None:
            raise RuntimeError("the block has not ended: its trace is there afterwards")
        if self._raw_trace is None:
            return None
        from pytest_gilknock.model.trace import Trace

        return Trace(self._raw_trace)


class assert_releases_gil(measure):
    """Context manager that raises AssertionError if its thread kept the GIL in its block.

    The thread must let go of the GIL for at least ``min_share`` of the block, a share from 0 to 1
    or a text such as ``"90%"``. Time it spends waiting to get the GIL back is other threads' doing
    and left out: share = released / (wall - own wait), with released = wall - own held - own wait.

    Holding the GIL for up to 100 us never fails: in a block below 1 ms the Python calls around the
    native one, which hold it, would decide and not the native one. If the GIL was held for more
    than half of so short a block, it warns with GilNotMeasuredWarning. It also warns, and does not
    fail, where the system may have made the difference by taking the thread off its processor while
    it held the GIL (known on Linux).

    Passes where the GIL is disabled. Where only knocks measure, the share is that of the knocks
    that were answered at once, whichever thread held the GIL, and it fails if their 95 % confidence
    interval lies below ``min_share``; with fewer than 20 knocks it warns with
    GilNotMeasuredWarning. An exception of the block itself is never replaced. Raises ValueError if
    ``min_share`` is not from 0 to 1.
    """

    __slots__ = ("_delayed_before", "_min_share")

    def __init__(self, min_share: float | str = 0.9, *, method: AskedMethod = "auto") -> None:
        __tracebackhide__ = True
        super().__init__(method=method)
        try:
            self._min_share = units.parse_share(min_share)
        except ValueError as error:
            raise ValueError(f"min_share: {error}") from None

    def __enter__(self: Self) -> Self:
        __tracebackhide__ = True
        self._delayed_before = _own_run_delay()
        return super().__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        super().__exit__(exc_type, exc, traceback)
        if exc_type is None:
            delayed = _own_run_delay() - self._delayed_before
            judge_release(self.reading, self._min_share, threading.get_native_id(), delayed)


def judge_release(
    reading: GilReading, min_share: float, native_id: int, delayed: float = 0.0
) -> None:
    """Raise AssertionError unless a thread released the GIL for ``min_share`` of a reading.

    ``delayed`` says how long (s) that thread was ready to run without a processor. Warns with
    GilNotMeasuredWarning where the reading does not show it.
    """
    __tracebackhide__ = True
    if reading.method == "disabled":
        return
    if reading.held is None:
        if (reason := _judge_knocks(reading, min_share)) is not None:
            _not_measured(reason)
        return
    own = next((thread for thread in reading.threads if thread.native_id == native_id), None)
    if own is None or reading.wall <= own.wait:
        _not_measured("this thread's part of the block is unknown")
        return
    active = reading.wall - own.wait
    released = max(0.0, 1.0 - own.held / active)
    if released >= min_share:
        return
    allowed = max(CALLS_MAY_HOLD, (1.0 - min_share) * active)
    if own.held <= allowed:
        if released < 0.5:
            _not_measured(
                f"the block is too short: the GIL was held for {units.seconds(own.held)} of"
                f" {units.seconds(reading.wall)}, and the calls around the native one may hold it"
                f" for up to {units.exact_seconds(CALLS_MAY_HOLD)}"
            )
        return
    if own.held - delayed <= allowed:
        _not_measured(f"the thread was without a processor for {units.seconds(delayed)}")
        return
    raise AssertionError(
        f"the GIL was released for {released:.3f} of the block, at least {min_share:g} was"
        f" asked for: this thread held it for {units.seconds(own.held)}"
        f" of {units.seconds(reading.wall)}, of which"
        f" {units.exact_seconds(CALLS_MAY_HOLD)} would be allowed in any block\n"
        + "\n".join(reading_lines(reading, current_folder()))
    )


def _judge_knocks(reading: GilReading, min_share: float) -> str | None:
    """Raise AssertionError as :func:`judge_release` does; return why that cannot be told."""
    __tracebackhide__ = True
    if reading.knocks < ENOUGH_KNOCKS:
        asked = units.count(reading.knocks, "time")
        return f"{OWN_THREAD} asked {asked} for the GIL in the block, {ENOUGH_KNOCKS} are needed"
    answered = reading.knocks - reading.knocks_waited
    _, high = wilson_interval(answered, reading.knocks)
    if high < min_share:
        raise AssertionError(
            f"the GIL was free for {answered / reading.knocks:.3f} of {reading.knocks} requests of"
            f" {OWN_THREAD}, at least {min_share:g} was asked for\n"
            + "\n".join(reading_lines(reading, current_folder()))
        )
    return None


def _own_run_delay() -> float:
    """Return how long (s) this thread has been ready to run without a processor; 0.0 if unknown.

    The second number of the kernel's schedstat, in nanoseconds
    (Documentation/scheduler/sched-stats).
    """
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            return int(file.read().split()[1]) * 1e-9
    except (OSError, ValueError, IndexError):
        return 0.0


def _not_measured(reason: str) -> None:
    """Warn at the block's line: called by what ``__exit__`` calls."""
    __tracebackhide__ = True
    warnings.warn(
        f"assert_releases_gil could not judge: {reason}", GilNotMeasuredWarning, stacklevel=4
    )


class Gilknock:
    """What the fixture ``gilknock`` gives a test: blocks measured by the run's method."""

    __slots__ = ("_latest", "_locks", "_method")

    def __init__(self, method: AskedMethod, locks: bool | None = None) -> None:
        self._method = method
        self._locks = locks
        self._latest: measure | None = None

    def measure(self, *, trace: bool = False) -> measure:
        """Return a context manager that measures its block; see :class:`measure`."""
        self._latest = measure(method=self._method, trace=trace, locks=self._locks)
        return self._latest

    @property
    def reading(self) -> GilReading:
        """What the latest block measured. Raises RuntimeError before any."""
        if self._latest is None:
            raise RuntimeError("nothing measured yet: use 'with gilknock.measure():' first")
        return self._latest.reading
