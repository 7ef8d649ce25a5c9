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
    """Rows, worst first, and what must be known beside them."""

    closing: list[str]
    """The verdict on the whole run."""

    cautions: list[str]
    """What keeps the comparison from being what it seems."""

    rows: list[ChangeRow]
    left_out: int
    """How many rows of metrics that did not change are left out."""
