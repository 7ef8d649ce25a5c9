"""What others took of the machine in a window: pure data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MachineLoad:
    """The machine while a window was open: its processors, and who else used them.

    Only the processors that this process may run on count. The numbers come from ``/proc/stat`` in
    steps of 10 ms for each processor. Of a window shorter than 50 ms they are those of some 100 ms
    up to its end, taken for its part.
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

    def used(self, wall: float) -> float:
        """Return the processor time (s) of this process and its children in a window.

        It lasted ``wall`` seconds; what was neither idle time nor that of others is theirs.
        """
        return max(0.0, self.processors * wall - self.idle - self.others)

    def lost(self, wall: float, run_delay: float | None) -> float:
        """Return how much processor time (s) this process lost to others, at most.

        Others hinder it while none of its other processors is idle: with a share ``i`` of them
        idle, independently, for ``(1 - i) ** (processors - 1)`` of the time. A quota hinders it
        always. It lost no more than its threads stood ready (``run_delay``, None where unknown),
        and nothing but while some thread of the machine stood ready.
        """
        idle_share = min(self.idle / (self.processors * wall), 1.0)
        hindered: float = self.others * (1.0 - idle_share) ** max(self.processors - 1.0, 0.0)
        bounds = [hindered + (self.throttled or 0.0)]
        if run_delay is not None:
            bounds.append(run_delay)
        if self.stalled is not None:
            bounds.append(self.stalled * self.processors)
        return min(bounds)
