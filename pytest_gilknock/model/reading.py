"""What a window tells: frozen, pure data. The words are those of the README's glossary."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pytest_gilknock.model.measures import contention_of, thread_label

if TYPE_CHECKING:
    from pytest_gilknock.model.wire import Method, RawReading

SCHEMA_VERSION = 1
"""Version of what :meth:`GilReading.as_dict` returns; raised when a key changes its meaning."""

AskedMethod = Literal["auto", "exact", "sampled"]
"""How to measure; ``auto`` is ``exact`` where that can be had."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles of a set of waits, in seconds, from a log-linear histogram (each within 4 %)."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class ThreadReading:
    """One thread's part of a window. ``native_id`` is the kernel's thread id; times in seconds."""

    native_id: int
    name: str | None
    held: float
    wait: float
    acquisitions: int
    contended: int
    max_wait: float

    @property
    def label(self) -> str:
        """The thread's name, or its native id where no name could be had."""
        return thread_label(self.name, self.native_id)


@dataclass(frozen=True, slots=True)
class Blame:
    """A Python line whose thread held the GIL while knocks waited ``waited`` seconds for it."""

    file: str
    line: int
    function: str
    native_id: int
    thread_name: str | None
    waited: float
    knocks: int

    @property
    def place(self) -> str:
        """``file:line function``; a thread may hold the GIL with no Python frame at all."""
        return f"{self.file}:{self.line} {self.function}" if self.file else "(no Python frame)"

    @property
    def thread_label(self) -> str:
        """The thread's name, or its native id where no name could be had."""
        return thread_label(self.thread_name, self.native_id)


@dataclass(frozen=True, slots=True)
class GilReading:
    """What one window measured.

    Times are in seconds. ``None`` stands for what was not measured, never for zero: without the
    accounting (``method`` is not ``"exact"``) ``held``, ``wait``, ``acquisitions`` and
    ``contended`` are ``None`` and ``reason`` says why.
    """

    method: Method
    reason: str | None
    gil_enabled: bool
    switch_interval: float
    wall: float
    held: float | None
    wait: float | None
    max_wait: float | None
    acquisitions: int | None
    contended: int | None
    knocks: int
    knocks_waited: int
    knock_latency: Latency | None
    wait_latency: Latency | None
    threads: tuple[ThreadReading, ...]
    blame: tuple[Blame, ...]
    run_delay: float | None

    @classmethod
    def from_raw(cls, raw: RawReading) -> GilReading:
        """Make a reading of what the C core returned."""
        knock_latency, wait_latency = raw["knock_latency"], raw["wait_latency"]
        names = {thread[0]: thread[1] for thread in raw["threads"]}  # some learned after the knock
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
            threads=tuple(ThreadReading(*thread) for thread in raw["threads"]),
            blame=tuple(
                Blame(file, line, function, thread, name or names.get(thread), waited, knocks)
                for file, line, function, thread, name, waited, knocks in raw["blame"]
            ),
            run_delay=raw["run_delay"],
        )

    @property
    def contention(self) -> float | None:
        """How busy the GIL was, 0 to 1: ``held / wall``, unless exact the share of waiting knocks.

        ``None`` when the GIL is off, or when no knock fell into the window and nothing else
        measured it.
        """
        return contention_of(self.held, self.wall, self.knocks, self.knocks_waited)

    @property
    def worst_blame(self) -> list[Blame]:
        """The blamed lines, the one that kept others waiting longest first."""
        return sorted(self.blame, key=lambda blame: blame.waited, reverse=True)

    @property
    def busiest_threads(self) -> list[ThreadReading]:
        """The threads, the one that held the GIL longest first."""
        return sorted(self.threads, key=lambda thread: thread.held, reverse=True)

    def as_dict(self) -> dict[str, Any]:
        """Return the reading as JSON-ready data; ``schema`` is :data:`SCHEMA_VERSION`."""
        data = asdict(self)
        data["threads"] = list(data["threads"])
        data["blame"] = list(data["blame"])
        return {"schema": SCHEMA_VERSION, "contention": self.contention, **data}
