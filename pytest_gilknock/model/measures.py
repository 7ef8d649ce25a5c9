"""What is told of the plain numbers of a window. Pure."""

from __future__ import annotations


def machine_was_busy(run_delay: float, thread_time: float) -> bool:
    """Return whether threads lacked a processor for so long that it shows in the other numbers.

    That is more than 10 % of ``thread_time``, the wall time of all threads together (s).
    """
    return run_delay > 0.1 * thread_time > 0.0


def thread_label(name: str | None, native_id: int) -> str:
    """Return how a thread is called where people read it; the id 0 stands for an unknown one."""
    return name or (f"thread {native_id}" if native_id else "an unknown thread")


def contention_of(held: float | None, wall: float, knocks: int, knocks_waited: int) -> float | None:
    """Return the contention of a window from its parts; see :attr:`GilReading.contention`."""
    if held is not None:
        return min(1.0, held / wall) if wall > 0.0 else None
    return knocks_waited / knocks if knocks else None
