"""What a gate found out about a test, as its report carries it. Pure."""

from __future__ import annotations

from typing import Any, TypedDict

GATE_RESULT = "gilknock_gate"
"""Attribute of a test report that has a :class:`GateResult`."""

NOT_JUDGED = "gilknock_gate_not_judged"
"""Attribute of a test report that says why there is no such result, where there should be one."""

FAILED_FOR_GIL = "gilknock_gate_gil"
"""Attribute of the report of a test that failed for a GIL that was off in the saved runs."""


class GateResult(TypedDict):
    """What a test report carries from the process that ran the test: plain data.

    ``entry`` has the fields of a :class:`~pytest_gilknock.baseline.model.BaselineEntry` in their
    order, ``severity`` is that of the worst breach, 0 without one. ``attempts`` says how often the
    test was measured, ``breaches`` in how many of these it was over a gate.
    """

    nodeid: str
    entry: list[Any]
    breached: bool
    severity: float
    attempts: int
    breaches: int
