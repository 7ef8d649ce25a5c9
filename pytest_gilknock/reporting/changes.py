"""A comparison with saved runs, as the page shows it. Pure."""

from __future__ import annotations

from typing import NamedTuple

Printed = tuple[float, str]
"""A number to sort by, and how it is printed with its unit."""


class ChangeRow(NamedTuple):
    """One metric of one test, before and now."""

    test: str
    verdict: str
    """``over the gate``, ``inconclusive``, ``worse``, ``better`` or ``steady``."""

    metric: str
    before: Printed
    after: Printed
    change: Printed
    relative: Printed
    blame: str
    """Where the GIL was held while others waited longest; empty where nobody had to."""


class Changes(NamedTuple):
    """Rows, worst first, and what is said below them."""

    notes: list[str]
    """The verdict on the whole run, and what else is said below the table."""

    caveats: list[str]
    """Why verdicts may be off, or are missing."""

    rows: list[ChangeRow]
    left_out: int
    """How many rows of metrics that did not change are left out."""
