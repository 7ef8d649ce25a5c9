"""What one window measured: frozen, pure data. The words are those of the glossary in docs/."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from pytest_gilknock.model.blame import (
    Blame,
    Hold,
    Victim,
    blame_of,
    holds_of,
    victims_of,
)
from pytest_gilknock.model.locks import (
    LOCK_KINDS,
    LockReading,
    LockWaits,
    ThreadLockWaits,
    TypeWaits,
)
from pytest_gilknock.model.longest_wait import LongestWait, longest_wait_of
from pytest_gilknock.model.machine import MachineLoad
from pytest_gilknock.model.stack import names_of, thread_label
from pytest_gilknock.model.statistics import Latency

if TYPE_CHECKING:
    from pytest_gilknock.model.wire import (
        BlameMethod,
        LockKind,
        Method,
        RawLocks,
        RawLockWaits,
        RawReading,
        RawVictim,
    )

SCHEMA_VERSION = 2
"""Version of what :meth:`GilReading.as_dict` returns; raised when a key changes its meaning."""

WORTH_A_ROW = 1e-3
"""Seconds: a test that is shorter, or below in the measure it is sorted by, gets no row."""

AskedMethod = Literal["auto", "exact", "sampled"]
"""How to measure; ``auto`` is ``exact`` where that is possible."""


def contention_of(held: float | None, wall: float, knocks: int, knocks_waited: int) -> float | None:
    """Return the contention of a window from its parts; see :attr:`GilReading.contention`."""
    if held is not None:
        return min(1.0, held / wall) if wall > 0.0 else None
    return knocks_waited / knocks if knocks else None


def machine_was_busy(run_delay: float, thread_time: float) -> bool:
    """Return whether threads lacked a processor for so long that it shows in the other numbers.

    That is more than 10 % of ``thread_time``, the wall time of all threads together (s).
    """
    return run_delay > 0.1 * thread_time > 0.0


@dataclass(frozen=True, slots=True)
class ThreadReading:
    """One thread's part of a window."""

    native_id: int
    """The kernel's thread id, as :func:`threading.get_native_id` returns it."""

    name: str | None
    """The name of its :class:`threading.Thread`; None where it could not be learned."""

    held: float
    """Time (s) during which it held the GIL."""

    wait: float
    """Time (s) it waited for the GIL."""

    acquisitions: int
    """How often it took the GIL."""

    contended: int
    """How many of these had to wait."""

    max_wait: float
    """Its longest single wait (s)."""

    @property
    def label(self) -> str:
        """The thread's name, or its native id where it has none."""
        return thread_label(self.name, self.native_id)

    def is_known_as(self, native_id: int, name: str | None) -> bool:
        """Return whether it is the thread of that id and name.

        The kernel uses ids of threads again, and a name may be known in one place only.
        """
        return native_id == self.native_id and (name == self.name or None in (name, self.name))


def locks_of(raw: RawLocks | str) -> LockReading:
    """Make a reading of what the C core returned: the waits, or why there are none."""
    if isinstance(raw, str):
        return LockReading.not_measured(raw)
    names = names_of(thread[:2] for thread in raw["threads"])

    def places(rows: dict[str, list[RawVictim]]) -> dict[str, tuple[Victim, ...]]:
        return {kind: victims_of(of_kind, names) for kind, of_kind in rows.items() if of_kind}

    longest = {kind: longest_wait_of(one, names) for kind, one in raw["longest"].items()}
    return LockReading(
        None,
        **_of_kinds(raw["kinds"]),
        unproven=LockWaits(*raw["kinds"]["unproven"]),
        types=tuple(
            sorted(
                (TypeWaits(name, LockWaits(*waits)) for name, waits in raw["types"]),
                key=lambda of_type: -of_type.waits.waited,
            )
        ),
        threads=tuple(
            ThreadLockWaits(native_id, name, **_of_kinds(kinds))
            for native_id, name, kinds in raw["threads"]
        ),
        threads_omitted=raw["threads_omitted"],
        victims=places(raw["victims"]),
        blame=places(raw["blame"]),
        victims_omitted=raw["victims_omitted"],
        blame_omitted=raw["blame_omitted"],
        longest_waits={kind: one for kind, one in longest.items() if one is not None},
        latencies={kind: Latency(*one) for kind, one in raw["latency"].items() if one is not None},
        spins=raw["spins"],
        places_reason=raw["places_reason"],
    )


def _of_kinds(kinds: dict[str, RawLockWaits]) -> dict[LockKind, LockWaits]:
    return {kind: LockWaits(*kinds[kind]) for kind in LOCK_KINDS}


class _Derived:
    """What follows from the fields of a reading."""

    __slots__ = ()
    method: Method
    wall: float
    held: float | None
    wait: float | None
    max_wait: float | None
    knocks: int
    knocks_waited: int
    locks: LockReading

    @property
    def contention(self) -> float | None:
        """How busy the GIL was, 0 to 1: ``held / wall``, unless exact the share of waiting knocks.

        ``None`` when the GIL is off, or when no knock fell into the window and nothing else
        measured it.
        """
        return contention_of(self.held, self.wall, self.knocks, self.knocks_waited)

    @property
    def interpreter_wait(self) -> float | None:
        """Time (s) threads waited for the interpreter: for its GIL (:attr:`wait`), and where it is
        off for what has taken its place (:attr:`LockReading.interpreter_wait`). None where that was
        not measured.
        """
        return self.locks.interpreter_wait if self.method == "disabled" else self.wait

    @property
    def longest_interpreter_wait(self) -> float | None:
        """The longest single one (s) of these, likewise."""
        if self.method == "disabled":
            return self.locks.longest_interpreter_wait
        return self.max_wait


@dataclass(frozen=True, slots=True)
class GilReading(_Derived):
    """What one window measured. ``None`` stands for what was not measured, never for zero."""

    method: Method
    """``"exact"`` (every take and release was seen), ``"sampled"`` (knocks only) or
    ``"disabled"`` (the GIL is off)."""

    reason: str | None
    """Why the method is not ``"exact"``; None when it is."""

    gil_enabled: bool
    """Whether the interpreter ran with its GIL."""

    switch_interval: float
    """``sys.getswitchinterval()`` (s)."""

    wall: float
    """How long the window was (s)."""

    held: float | None
    """Time (s) during which any thread held the GIL; None unless exact."""

    wait: float | None
    """Time (s) threads waited for the GIL, summed over threads; None unless exact."""

    max_wait: float | None
    """The longest single wait (s), of a thread or of a knock; None if not exact and no knock fell
    into the window."""

    acquisitions: int | None
    """How often a thread took the GIL; None unless exact."""

    contended: int | None
    """How many of the acquisitions had to wait; None unless exact."""

    knocks: int
    """How often the plugin's own thread asked for the GIL. A knock that waits longer than the mean
    time between two also counts for those that were due meanwhile."""

    knocks_waited: int
    """How many of the knocks found the GIL taken."""

    knock_latency: Latency | None
    """How long the knocks waited; None without a knock."""

    wait_latency: Latency | None
    """How long the contended acquisitions waited; None without one, and unless exact."""

    wait_histogram: tuple[tuple[float, int], ...] | None
    """The same waits by their length, shortest first: ``(least, count)`` for those from ``least``
    seconds, which is a power of two microseconds, to twice that. Lengths without any wait are left
    out; a wait within 4 % of an end may count beyond it. None unless exact."""

    threads: tuple[ThreadReading, ...]
    """The threads that took the GIL or waited for it; empty unless exact."""

    threads_omitted: int
    """How many more did that ended and made room for others: a window has room for 16,384 threads.
    They are in the sums."""

    blame: tuple[Blame, ...]
    """The places whose threads held the GIL while others waited, the one most waited for first."""

    blame_method: BlameMethod
    """How those places are found: ``"looked"`` (at random moments of waiting time the waiters look
    where the holder stands), ``"released"`` (the line on which the holder let the GIL go) or
    ``"none"``."""

    blame_reason: str | None
    """Why the blame method is not ``"looked"``; None when it is."""

    blame_omitted: tuple[int, float, float]
    """Rows, wait (s) and knock wait (s) for which ``blame`` had no room."""

    hand_over: float | None
    """Wait (s) during which no thread of the program held the GIL: the next one was waking up. None
    unless exact. ``blame``, ``blame_omitted``, this and ``unlooked`` sum up to ``wait``."""

    unlooked: float | None
    """Wait (s) during which nobody saw who held the GIL; None unless exact."""

    unlooked_reason: str | None
    """Why nobody did, where it is not by chance alone; None where nothing is known."""

    victims: tuple[Victim, ...]
    """The places whose threads waited, the one where most was waited first; empty unless exact.

    They sum up to no more than ``wait``, and to less by waits that are not over, or of which none
    was seen."""

    knock_wait: float
    """Time (s) the knocks waited, summed over them; never a part of ``wait``."""

    longest_wait: LongestWait | None
    """Whose ``max_wait`` is, and who held the GIL meanwhile; None without any wait."""

    run_delay: float | None
    """Time (s) threads were ready to run without a processor, summed over threads; None where the
    system does not say, and in most windows below 0.1 s."""

    machine: MachineLoad | None
    """What others took of the machine; None where the system does not say, in most windows below
    0.1 s, and with the GIL off."""

    locks: LockReading
    """What threads waited for besides the GIL, or why that was not measured."""

    max_hold: float | None
    """The longest hold (s) that went on although its thread was asked to let the GIL go; 0.0 where
    there was none. None unless holds were audited, and the reading is exact."""

    holds: tuple[Hold, ...]
    """The places of such holds, that of the longest one first; empty unless audited."""

    holds_unseen: int
    """How many of such holds are not in ``holds``, as their place is not known."""

    @classmethod
    def from_raw(cls, raw: RawReading) -> GilReading:
        """Make a reading of what the C core returned."""
        knock_latency, wait_latency = raw["knock_latency"], raw["wait_latency"]
        histogram = raw["wait_histogram"]
        machine = raw["machine"]
        names = names_of(thread[:2] for thread in raw["threads"])
        return cls(
            method=raw["method"],
            reason=raw["reason"],
            gil_enabled=raw["gil_enabled"],
            switch_interval=raw["switch_interval"],
            wall=raw["wall"],
            held=raw["held"],
            wait=raw["wait"],
            max_wait=raw["max_wait"],
            acquisitions=raw["acquisitions"],
            contended=raw["contended"],
            knocks=raw["knocks"],
            knocks_waited=raw["knocks_waited"],
            knock_latency=None if knock_latency is None else Latency(*knock_latency),
            wait_latency=None if wait_latency is None else Latency(*wait_latency),
            wait_histogram=None if histogram is None else tuple(histogram),
            threads=tuple(ThreadReading(*thread) for thread in raw["threads"]),
            threads_omitted=raw["threads_omitted"],
            blame=blame_of(raw["blame"], names),
            blame_method=raw["blame_method"],
            blame_reason=raw["blame_reason"],
            blame_omitted=raw["blame_omitted"],
            hand_over=raw["hand_over"],
            unlooked=raw["unlooked"],
            unlooked_reason=raw["unlooked_reason"],
            victims=victims_of(raw["victims"], names),
            knock_wait=raw["knock_wait"],
            longest_wait=longest_wait_of(raw["longest_wait"], names),
            run_delay=raw["run_delay"],
            machine=None if machine is None else MachineLoad(*machine),
            locks=locks_of(raw["locks"]),
            max_hold=raw["max_hold"],
            holds=holds_of(raw["holds"], names),
            holds_unseen=raw["holds_unseen"],
        )

    @property
    def busiest_threads(self) -> list[ThreadReading]:
        """The threads, the one that held the GIL longest first."""
        return sorted(self.threads, key=lambda thread: thread.held, reverse=True)

    def as_dict(self) -> dict[str, Any]:
        """Return the reading as JSON-ready data; the key ``schema`` is the version of its form.

        A frame of a stack is ``[file, line, function, callee]``, innermost first.
        """
        data = asdict(self)
        data["threads"] = list(data["threads"])
        data["locks"]["types"] = list(data["locks"]["types"])
        data["locks"]["threads"] = list(data["locks"]["threads"])
        for role in ("blame", "victims"):
            places = getattr(self.locks, role)
            data["locks"][role] = {
                kind: [place.as_dict() for place in rows] for kind, rows in places.items()
            }
        data["blame"] = [blame.as_dict() for blame in self.blame]
        data["victims"] = [victim.as_dict() for victim in self.victims]
        data["holds"] = [hold.as_dict() for hold in self.holds]
        return {"schema": SCHEMA_VERSION, "contention": self.contention, **data}


def shows_locks(reading: GilReading) -> bool:
    """Return whether waits for locks are shown: the GIL is off, and they were measured."""
    return reading.method == "disabled" and reading.locks.reason is None


def thread_count(reading: GilReading) -> int | None:
    """Return how many threads took part, with the GIL or in waits for locks; None if unknown."""
    if shows_locks(reading):
        return len(reading.locks.threads)
    return len(reading.threads) if reading.method == "exact" else None


def lazy_reading(raw: RawReading) -> GilReading:
    """Return what reads as ``GilReading.from_raw(raw)``, each field made when it is asked for.

    For those who need a few numbers of every test: a whole reading takes some ten times as long.
    """
    return cast("GilReading", _LazyReading(raw))


class _LazyReading(_Derived):
    __slots__ = ("_raw", "locks")

    def __init__(self, raw: RawReading) -> None:
        self._raw = raw

    @property
    def blame(self) -> tuple[Blame, ...]:
        rows, threads = self._raw["blame"], self._raw["threads"]
        return blame_of(rows, names_of(one[:2] for one in threads)) if rows else ()

    def __getattr__(self, name: str) -> Any:
        if name == "locks":
            self.locks = locks_of(self._raw["locks"])
            return self.locks
        value = self._raw.get(name, ...)
        if value is None or isinstance(value, (float, int, str)):
            return value
        return getattr(GilReading.from_raw(self._raw), name)
