"""What others took of the machine in a window: pure data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MachineLoad:
    """The machine while a window was open: its processors, and who else used them.

    Only the processors that this process may run on count. The numbers come from ``/proc/stat`` in
    steps of 10 ms for each processor.
    """

    processors: float
    """How many processors this process could use: a fraction if that changed meanwhile."""

    idle: float
    """Time (s) these processors were idle, summed over them."""

    others: float
    """Time (s) these processors spent for others than this process and its children: other
    programs, the kernel, and the host of a virtual machine. Summed over processors."""

    throttled: float | None
    """Time (s) for which a quota kept this process' control group from running, summed over
    processors; 0 without a quota, None where that is not known."""

    stalled: float | None
    """Time (s) in which some thread of the whole machine, of whatever program, was ready to run
    without a processor; None where the kernel does not keep pressure information."""
