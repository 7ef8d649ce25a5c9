"""What threads of a window waited for besides the GIL: locks, and a stopped world. Pure data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from pytest_gilknock.model.stack import thread_label
from pytest_gilknock.model.wire import LockKind

if TYPE_CHECKING:
    from pytest_gilknock.model.blame import Victim
    from pytest_gilknock.model.longest_wait import LongestWait
    from pytest_gilknock.model.statistics import Latency

LOCK_KINDS: tuple[LockKind, ...] = get_args(LockKind)

INTERPRETER_KINDS: tuple[LockKind, ...] = ("objects", "stop_the_world", "interpreter")
"""Kinds of waits that the program did not ask for: the interpreter needs them in place of a GIL."""

LIMITED_KINDS: tuple[LockKind, ...] = ("objects", "interpreter", "program")
"""Kinds of locks; a stopped world is none."""

KIND_NAMES: dict[LockKind, str] = {
    "objects": "objects",
    "stop_the_world": "stopped world",
    "interpreter": "interpreter",
    "program": "locks of the program",
}
"""How reports call the kinds."""


def ended_by(kind: LockKind) -> str:
    """Return what stands before who ended a wait: that thread had a lock, or stopped the world."""
    return "stopped by" if kind == "stop_the_world" else "let go by"


@dataclass(frozen=True, slots=True)
class LockWaits:
    """Waits of one kind, in one window."""

    count: int
    """How many waits. An attempt to get a lock is one, however often its thread was woken."""

    waited: float
    """Time (s) waited, summed over threads; waits that went on at the window's end have a part."""

    longest: float
    """The longest single wait (s), as far as it lies in the window."""


@dataclass(frozen=True, slots=True)
class TypeWaits:
    """Waits for the locks of objects of one type."""

    type_name: str | None
    """The type's name as its module wrote it (``dict``, ``collections.deque``); None for those that
    is not known or had no room (each thread has it for 8 types in a window)."""

    waits: LockWaits


@dataclass(frozen=True, slots=True)
class ThreadLockWaits:
    """What one thread waited for."""

    native_id: int
    """The kernel's thread id, as :func:`threading.get_native_id` returns it."""

    name: str | None
    """The name of its :class:`threading.Thread`; None where it could not be learned."""

    objects: LockWaits
    """As in :class:`LockReading`, like the next three."""

    stop_the_world: LockWaits
    interpreter: LockWaits
    program: LockWaits

    @property
    def label(self) -> str:
        """The thread's name, or its native id where it has none."""
        return thread_label(self.name, self.native_id)

    def of(self, kind: LockKind) -> LockWaits:
        """Return the waits of one kind."""
        waits: LockWaits = getattr(self, kind)
        return waits

    @property
    def interpreter_wait(self) -> float:
        """Time (s) it waited for what the program did not ask for: ``objects``, ``stop_the_world``
        and ``interpreter``."""
        return sum(self.of(kind).waited for kind in INTERPRETER_KINDS)


@dataclass(frozen=True, slots=True)
class LockReading:
    """Waits that are no waits for the GIL. Without a ``reason`` they were measured.

    Threads that spin for a lock and get it without sleeping have not waited. Events, joins, queues
    and conditions are meant to be waited for and are not here.
    """

    reason: str | None
    """Why nothing was measured; None when it was. The next five are None when it was not."""

    objects: LockWaits | None
    """Waits for the lock of an object: two threads used the same dict, list, set or the like at
    once. There are none while the GIL is on."""

    stop_the_world: LockWaits | None
    """Waits until the interpreter went on that another thread had stopped, most often to collect
    garbage. A thread that slept or read a file meanwhile has not waited. There are none while the
    GIL is on."""

    interpreter: LockWaits | None
    """Waits for other locks of the interpreter or of a C extension (``PyMutex``), and of a thread
    that stops the world until all others have stopped."""

    program: LockWaits | None
    """Waits for locks that the program made: :class:`threading.Lock`, ``RLock`` and what is made of
    them. A lock that one thread releases to wake another counts as well, unless it is the one of a
    :class:`threading.Condition`."""

    unproven: LockWaits | None
    """Waits for locks of the interpreter that could not be told apart; part of no other number."""

    types: tuple[TypeWaits, ...]
    """What types the objects had, the one most waited for first; empty if nothing was measured."""

    threads: tuple[ThreadLockWaits, ...]
    """The threads that waited; empty if nothing was measured, or threads were not told apart."""

    threads_omitted: int
    """Threads that had ended and made room for others; their waits are in the sums."""

    victims: dict[str, tuple[Victim, ...]]
    """Where threads waited, by kind; the place where most was waited first. Long waits count as
    they were. Short ones are drawn by their length, and stand for the others; waits that go on at
    the window's end are not among them. Empty if nobody looked."""

    blame: dict[str, tuple[Victim, ...]]
    """Where other threads let go what these waited for, likewise: the line on which a lock was
    released, or that ended the pause for which the world was stopped. ``waited`` is the time that
    others waited until then, ``threads`` are those that let go. Of a lock that several threads had
    during a wait, it is the last one."""

    victims_omitted: float | None
    """Time (s), about, that was waited at places for which ``victims`` had no room; None where that
    is not known."""

    blame_omitted: float | None
    """Time (s), about, that others waited for releases at places for which ``blame`` had no room;
    None where that is not known."""

    longest_waits: dict[str, LongestWait]
    """The longest wait of each kind: whose, when, where; its holder is the thread that let go. A
    place is empty if nobody looked."""

    latencies: dict[str, Latency]
    """Quantiles of the waits of each kind, of those that go on so far."""

    spins: int | None
    """How often a thread tried again to get a lock instead of sleeping (about 40 times before it
    sleeps where the GIL is off); None where that is not seen."""

    places_reason: str | None
    """Why nobody looked where threads waited; None if they did."""

    @classmethod
    def not_measured(cls, reason: str) -> LockReading:
        """Return a reading without numbers."""
        return cls(
            reason,
            objects=None,
            stop_the_world=None,
            interpreter=None,
            program=None,
            unproven=None,
            types=(),
            threads=(),
            threads_omitted=0,
            victims={},
            blame={},
            victims_omitted=None,
            blame_omitted=None,
            longest_waits={},
            latencies={},
            spins=None,
            places_reason=None,
        )

    def of(self, kind: LockKind) -> LockWaits | None:
        """Return the waits of one kind; None where they were not measured."""
        waits: LockWaits | None = getattr(self, kind)
        return waits

    def longest_of(self, kinds: Sequence[LockKind]) -> tuple[float, LockKind]:
        """Return the longest wait (s) of some kinds, and its kind; 0.0 if there was none."""
        return max(
            ((waits.longest, kind) for kind in kinds if (waits := self.of(kind)) is not None),
            key=lambda one: one[0],
            default=(0.0, kinds[0]),
        )

    def count_of(self, kind: LockKind) -> int:
        """Return how many waits of a kind there were."""
        waits = self.of(kind)
        return 0 if waits is None else waits.count

    @property
    def lock_wait(self) -> float | None:
        """Time (s) waited for locks: ``objects``, ``interpreter`` and ``program``; None where it
        was not measured."""
        waits = [self.of(kind) for kind in LIMITED_KINDS]
        return None if self.reason is not None else sum(one.waited for one in waits if one)

    @property
    def interpreter_wait(self) -> float | None:
        """Time (s) waited for what the program did not ask for: ``objects``, ``stop_the_world`` and
        ``interpreter``; None where it was not measured."""
        waits = [self.of(kind) for kind in INTERPRETER_KINDS]
        return None if self.reason is not None else sum(one.waited for one in waits if one)

    @property
    def longest_interpreter_wait(self) -> float | None:
        """The longest single one (s) of these; None where they were not measured."""
        waits = [self.of(kind) for kind in INTERPRETER_KINDS]
        return None if self.reason is not None else max(one.longest for one in waits if one)

    @property
    def blamed(self) -> tuple[Victim, ...]:
        """Where others let go what was waited for most, of what the program did not ask for; where
        that is not known, where threads waited for it."""
        return self.blamed_of(INTERPRETER_KINDS)

    @property
    def is_let_go_known(self) -> bool:
        """Whether ``blamed`` is where others let go, not where threads waited."""
        return self.is_let_go_known_of(INTERPRETER_KINDS)

    @property
    def worst(self) -> tuple[LockKind, LockWaits] | None:
        """The kind that was waited for most, of those that the program did not ask for; None where
        nothing was."""
        return self.worst_of(INTERPRETER_KINDS)

    def blamed_of(self, kinds: Sequence[LockKind]) -> tuple[Victim, ...]:
        """Return likewise what is blamed for the one of some kinds that was waited for most."""
        worst = self.worst_of(kinds)
        kind = worst[0] if worst is not None else ""
        return self.blame.get(kind) or self.victims.get(kind) or ()

    def is_let_go_known_of(self, kinds: Sequence[LockKind]) -> bool:
        """Return whether ``blamed_of`` is where others let go, not where threads waited."""
        worst = self.worst_of(kinds)
        return worst is not None and bool(self.blame.get(worst[0]))

    def worst_of(self, kinds: Sequence[LockKind]) -> tuple[LockKind, LockWaits] | None:
        """Return the one of some kinds that was waited for most; None where none was."""
        found = [(kind, waits) for kind in kinds if (waits := self.of(kind)) is not None]
        worst = max(found, key=lambda one: one[1].waited, default=None)
        return worst if worst is not None and worst[1].count else None
