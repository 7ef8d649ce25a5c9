"""Limits on a reading, and whether a reading keeps them. Pure."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilknock.model import units
from pytest_gilknock.model.locks import LIMITED_KINDS
from pytest_gilknock.model.stack import NOT_ASKED, OWN_THREAD
from pytest_gilknock.model.statistics import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilknock.model.locks import LockReading
    from pytest_gilknock.model.reading import GilReading, ThreadReading
    from pytest_gilknock.model.wire import Kind, LockKind, PlainLimit

MOST_NAMES = 10
"""How many threads are named where none has the name that a limit asks for."""

NAME_BYTES = 255
"""What readings keep of a thread's name (``THREAD_NAME_SIZE`` in src/native/thread_name.h)."""

MAIN_THREAD = "MainThread"
"""The name of the one thread that does not end before the process does."""

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


class Limit(NamedTuple):
    """A bound on contention, or on the longest wait, hold, wait for a lock or stopped world.

    A reading equal to the bound keeps it. ``bound`` is a share (contention) or seconds; ``source``
    names where the user wrote it. With ``thread``, the name of a thread or a glob that matches
    names, it is for those threads' own waits alone; with ``lock_kind`` for locks of that kind
    alone.
    """

    kind: Kind
    bound: float
    source: str
    thread: str | None = None
    lock_kind: LockKind | None = None

    @property
    def key(self) -> tuple[Kind, str]:
        """What it is for: of limits with the same key, one holds."""
        return self.kind, self.thread or self.lock_kind or ""

    @property
    def plain(self) -> PlainLimit:
        """The limit as it travels to another process: ``Limit(*plain)`` is equal to it."""
        return self.kind, self.bound, self.source, self.thread, self.lock_kind

    @property
    def is_on_locks(self) -> bool:
        """Whether it needs waits for locks measured."""
        return self.kind in ("max_lock_wait", "max_stop_the_world")

    @property
    def lock_kinds(self) -> tuple[LockKind, ...]:
        """The kinds of waits that a limit on locks is for."""
        if self.lock_kind is not None:
            return (self.lock_kind,)
        return LIMITED_KINDS if self.kind == "max_lock_wait" else ("stop_the_world",)

    @property
    def text(self) -> str:
        """The bound with what it is for, as the option takes them: ``20 ms@MainThread``."""
        part = self.key[1]
        return f"{self.bound_text}@{part}" if part else self.bound_text

    @property
    def bound_text(self) -> str:
        """The bound as the user may have written it: ``0.3``, ``20 ms``."""
        return f"{self.bound:g}" if self.kind == "contention" else units.exact_seconds(self.bound)


def parse_thread(value: object) -> str:
    """Return the name of a thread, or a glob; raises ValueError for anything else."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(
            f"thread {value!r} is not a thread's name such as 'MainThread', or a glob such as"
            " 'ThreadPoolExecutor-*'"
        )
    return value.strip()


def parse_wait(value: object) -> tuple[float, str | None]:
    """Return the bound (s) and the thread of a limit such as ``20ms`` or ``20ms@MainThread``.

    Raises ValueError, with the value and the accepted form in its text.
    """
    if isinstance(value, str) and "@" in value:
        bound, _, thread = value.partition("@")
        return units.parse_duration(bound), parse_thread(thread)
    return units.parse_duration(value), None


def parse_lock_kind(value: object) -> LockKind:
    """Return the kind of locks that a limit is for; raises ValueError for anything else."""
    for kind in LIMITED_KINDS:
        if value == kind:
            return kind
    raise ValueError(f"kind {value!r} is not one of {', '.join(LIMITED_KINDS)}")


def parse_lock_wait(value: object) -> tuple[float, LockKind | None]:
    """Return the bound (s) and the kind of locks of a limit such as ``20ms`` or ``20ms@objects``.

    Raises ValueError, with the value and the accepted form in its text.
    """
    if isinstance(value, str) and "@" in value:
        bound, _, kind = value.partition("@")
        return units.parse_duration(bound), parse_lock_kind(kind.strip())
    return units.parse_duration(value), None


class LimitVerdict(NamedTuple):
    """What became of a limit that a reading does not surely keep.

    ``breached`` is ``False`` where the reading is inconclusive; ``fact`` says what was measured,
    and why that is or is not enough.
    """

    limit: Limit
    breached: bool
    fact: str


def judge(reading: GilReading, limit: Limit) -> LimitVerdict | None:
    """Return ``None`` if ``reading`` surely keeps ``limit``, else a verdict with its reason."""
    if limit.is_on_locks:
        return _judge_lock_wait(reading, limit)
    if reading.method == "disabled":
        return LimitVerdict(
            limit,
            False,
            "the GIL is disabled: there is nothing to judge; what threads wait for without it is"
            " limited by max_lock_wait and max_stop_the_world",
        )
    if limit.thread is not None:
        return _judge_max_wait_of_thread(reading, limit)
    if limit.kind == "max_wait":
        return _judge_max_wait(reading, limit)
    if limit.kind == "max_hold":
        return _judge_max_hold(reading, limit)
    if reading.held is not None:
        return _judge_contention(reading, limit)
    return _judge_sampled_contention(reading, limit)


def _as_measured(name: str) -> str:
    """Return a thread's name as readings have it (src/cpython/thread_names.c, ``copy_text``)."""
    whole = _LONE_SURROGATES.sub("\N{REPLACEMENT CHARACTER}", name)
    return whole.encode()[:NAME_BYTES].decode(errors="ignore")


def threads_of(reading: GilReading, limit: Limit) -> list[ThreadReading]:
    """Return the threads that a limit is for, the one that waited longest at once first."""
    wanted = None if limit.thread is None else _as_measured(limit.thread)
    matching = [
        thread
        for thread in reading.threads
        if wanted is None
        or thread.label.strip() == wanted.strip()
        or fnmatchcase(thread.label, wanted)
    ]
    return sorted(matching, key=lambda thread: thread.max_wait, reverse=True)


def _judge_max_wait_of_thread(reading: GilReading, limit: Limit) -> LimitVerdict | None:
    threads = threads_of(reading, limit)
    if threads and threads[0].max_wait > limit.bound:
        waited = units.seconds(threads[0].max_wait)
        return LimitVerdict(
            limit, True, f"max wait of {threads[0].label} {waited}, limit {limit.bound_text}"
        )
    if reading.held is None:
        why = f"a sampled reading has the waits of {OWN_THREAD} alone"
    elif reading.threads_omitted and not (threads and limit.thread == MAIN_THREAD):
        omitted = units.count(reading.threads_omitted, "thread")
        why = f"{omitted} that ended made room for others, and may have had that name"
    elif threads:
        return None
    elif reading.threads:
        why = f"no thread of that name took or asked for the GIL, only {_names(reading)}"
    else:
        why = "no thread took or asked for the GIL"
    return LimitVerdict(limit, False, f"max wait of {limit.thread} was not measured: {why}")


def _names(reading: GilReading) -> str:
    names = sorted({thread.label for thread in reading.threads})
    more = len(names) - MOST_NAMES
    shown = ", ".join(names[:MOST_NAMES])
    return f"{shown} and {more} more" if more > 0 else shown


def _judge_max_wait(reading: GilReading, limit: Limit) -> LimitVerdict | None:
    if reading.max_wait is None:
        return LimitVerdict(limit, False, f"max wait was not measured: {NOT_ASKED}")
    if reading.max_wait <= limit.bound:
        return None
    return LimitVerdict(
        limit, True, f"max wait {units.seconds(reading.max_wait)}, limit {limit.bound_text}"
    )


def _judge_max_hold(reading: GilReading, limit: Limit) -> LimitVerdict | None:
    if reading.max_hold is None:
        why = reading.reason or reading.blame_reason or NOT_ASKED
        return LimitVerdict(limit, False, f"max hold was not measured: {why}")
    if reading.max_hold <= limit.bound:
        return None
    return LimitVerdict(
        limit, True, f"max hold {units.seconds(reading.max_hold)}, limit {limit.bound_text}"
    )


def _judge_lock_wait(reading: GilReading, limit: Limit) -> LimitVerdict | None:
    locks = reading.locks
    if locks.reason is not None or locks.unproven is None:
        why = f"waits for locks were not measured: {locks.reason}"
        return LimitVerdict(limit, False, f"nothing to judge, because {why}")
    longest, kind = locks.longest_of(limit.lock_kinds)
    if longest > limit.bound:
        what = lock_text(kind, locks)
        return LimitVerdict(
            limit,
            True,
            f"a thread waited {units.seconds(longest)} {what}, limit {limit.bound_text}",
        )
    if reading.gil_enabled and not any(locks.count_of(kind) for kind in limit.lock_kinds):
        if limit.kind == "max_stop_the_world":
            why = "the GIL is on: the world is stopped only where it is off"
            return LimitVerdict(limit, False, f"nothing to judge, because {why}")
        if limit.lock_kind == "objects":
            why = "the GIL is on: objects have locks only where it is off"
            return LimitVerdict(limit, False, f"nothing to judge, because {why}")
    if locks.unproven.longest > limit.bound:
        waited = units.seconds(locks.unproven.longest)
        what = f"a thread waited {waited} for a lock that could not be told apart"
        return LimitVerdict(limit, False, f"{what}, limit {limit.bound_text}")
    return None


def longest_lock_wait(reading: GilReading, limits: Sequence[Limit]) -> tuple[float, LockKind]:
    """Return the longest wait (s) for what limits on locks are for, and its kind."""
    return reading.locks.longest_of([kind for limit in limits for kind in limit.lock_kinds])


def lock_text(kind: LockKind, locks: LockReading) -> str:
    """Return what a wait of a kind is for: ``for the lock of an object (most of all dict)``."""
    name = locks.types[0].type_name if kind == "objects" and locks.types else None
    return LOCK_TEXTS[kind] + (f" (most of all {name})" if name else "")


LOCK_TEXTS: dict[LockKind, str] = {
    "objects": "for the lock of an object",
    "stop_the_world": "for the stopped world",
    "interpreter": "for a lock of the interpreter",
    "program": "for a lock of the program",
}


def _judge_contention(reading: GilReading, limit: Limit) -> LimitVerdict | None:
    contention = reading.contention
    if contention is None or contention <= limit.bound:
        return None
    return LimitVerdict(limit, True, f"contention {contention:.3f}, limit {limit.bound_text}")


def _judge_sampled_contention(reading: GilReading, limit: Limit) -> LimitVerdict | None:
    if reading.knocks == 0:
        return LimitVerdict(limit, False, f"contention was not measured: {NOT_ASKED}")
    low, high = wilson_interval(reading.knocks_waited, reading.knocks)
    if high <= limit.bound or limit.bound == 1.0:
        return None
    breached = low > limit.bound
    enough = "" if breached else ", not enough to judge"
    return LimitVerdict(
        limit,
        breached,
        f"contention {reading.knocks_waited / reading.knocks:.3f}, limit {limit.bound_text}"
        f" ({reading.knocks_waited} of {units.count(reading.knocks, 'request')} of {OWN_THREAD}"
        " waited:"
        f" {low:.3f} to {high:.3f} with 95 % confidence{enough})",
    )
