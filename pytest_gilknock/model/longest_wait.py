"""Whose the longest single wait was. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gilknock.model.stack import OWN_THREAD, Names, Stack, stack_of, thread_label

if TYPE_CHECKING:
    from pytest_gilknock.model.wire import RawLongestWait


@dataclass(frozen=True, slots=True)
class LongestWait:
    """Whose the longest single wait was, and who held the GIL meanwhile."""

    waited: float
    """How long it was (s), as far as it lies in the window."""

    began: float
    """When it began, in seconds after the window opened; 0 if that was before."""

    is_knock: bool
    """Whether it was a knock of the plugin's, not a thread of the program."""

    native_id: int
    """The kernel's id of the thread that waited."""

    thread_name: str | None
    """The name of that thread; None where it could not be learned."""

    stack: Stack
    """Where it waited; empty where that is not known, and for a knock."""

    holder_stack: Stack
    """Where the holder stood, the thread that had the GIL in more than half of the looks during the
    wait; empty where none had, or nobody looked."""

    holder_native_id: int
    """The kernel's id of the holder; 0 where there is none."""

    holder_thread_name: str | None
    """The name of the holder's thread; None where it could not be learned."""

    @property
    def thread_label(self) -> str:
        """Who waited."""
        return OWN_THREAD if self.is_knock else thread_label(self.thread_name, self.native_id)

    @property
    def holder_label(self) -> str:
        """The holder's thread."""
        return thread_label(self.holder_thread_name, self.holder_native_id)


def longest_wait_of(raw: RawLongestWait | None, names: Names) -> LongestWait | None:
    """Return whose the longest wait was; None without any."""
    if raw is None:
        return None
    waited, began, is_knock, thread, name, stack, holder_stack, holder, holder_name = raw
    return LongestWait(
        waited=waited,
        began=began,
        is_knock=is_knock,
        native_id=thread,
        thread_name=name or names.get(thread),
        stack=stack_of(stack),
        holder_stack=stack_of(holder_stack),
        holder_native_id=holder,
        holder_thread_name=holder_name or names.get(holder),
    )
