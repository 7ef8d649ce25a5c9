"""What others had of the processor time now, beside what they had of the saved runs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gilknock.baseline.model import BaselineEntry


def excess_share(before: Sequence[BaselineEntry], after: BaselineEntry) -> float:
    """Return the share of processor time that others took beyond what they took of the saved runs.

    These cancel out: a process that gets half of the time it is ready to use, where it got two
    thirds before, is slowed down as by others that take a quarter.
    """
    usual = median(entry.lost_share for entry in before)
    share = min(after.lost_share, _missed_share(before, after))
    excess = 1.0 - (1.0 - share) / (1.0 - usual) if usual < 1.0 else 0.0
    return max(0.0, excess)


def _missed_share(before: Sequence[BaselineEntry], after: BaselineEntry) -> float:
    """Return the share of the processor time used in the saved runs that was not had now.

    Threads that take turns at the GIL keep about one processor at work. As long as they get it, a
    program that takes another one does not slow them down, though they stand ready now and then.
    1 where this is not known.
    """
    wanted = [entry.ready / entry.wall for entry in before if entry.used is not None and entry.wall]
    if not wanted or after.used is None or not after.wall:
        return 1.0
    had = after.used / after.wall
    return max(0.0, 1.0 - had / median(wanted)) if median(wanted) else 0.0
