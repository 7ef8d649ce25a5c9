"""Stalls: times in which no thread could get the GIL. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilknock.model.stack import Frame, Stack

if TYPE_CHECKING:
    from pytest_gilknock.model.wire import RawStall

# As Python/traceback.c writes them, in later versions with the thread's name.
_HEAD = re.compile(r"^(?:Current thread|Thread) 0x([0-9a-f]+)\b[^\n]*$", re.MULTILINE)
_FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)


class Stall(NamedTuple):
    """A knock that was not answered for longer than ``gil_stall_timeout``.

    ``test`` is what ran as it was noticed, ``lasted`` how long the knock waited (s), ``thread``
    whose GIL it was, if that is known and the thread has a name, and ``stacks`` where all threads
    stood, as :mod:`faulthandler` writes it.
    """

    test: str
    lasted: float
    thread: str | None
    ident: int
    stacks: str

    @classmethod
    def from_raw(cls, raw: RawStall) -> Stall:
        """Make a stall of what the C core returned."""
        return cls(*raw)

    @property
    def place(self) -> str | None:
        """``file:line function`` of the innermost frame of the thread that had the GIL.

        ``None`` where that is unknown.
        """
        if not (stack := self.holder):
            return None
        return f"{stack[0].file}:{stack[0].line} {stack[0].function}"

    @property
    def holder(self) -> Stack:
        """The stack of the thread that had the GIL; empty where that is unknown.

        With one thread only, it is that one's.
        """
        heads = list(_HEAD.finditer(self.stacks))
        for head in heads:
            if int(head[1], 16) == self.ident or (self.ident == 0 and len(heads) == 1):
                rest = self.stacks[head.end() :].partition("\n\n")[0]
                found = _FRAME.findall(rest)
                return tuple(Frame(file, int(line), name) for file, line, name in found)
        return ()
