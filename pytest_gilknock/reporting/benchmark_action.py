"""A run as github-action-benchmark takes it: ``tool: customSmallerIsBetter``. Pure.

The README of that action has the form: a list of ``{"name", "unit", "value", "extra"}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pytest_gilknock.baseline.model import Entry
from pytest_gilknock.gate.expression import Metric
from pytest_gilknock.render import format as text

UNITS: dict[Metric, str] = {
    "contention": "share",
    "wait": "s",
    "max_wait": "s",
    "contended": "count",
}


def dumps(tests: Mapping[str, Entry]) -> str:
    """Return the document; what was not measured has no place in it."""
    benches = [
        {
            "name": f"{text.printable(nodeid)} {metric}",
            "unit": unit,
            "value": value,
            "extra": f"method: {entry.method}",
        }
        for nodeid, entry in sorted(tests.items())
        for metric, unit in UNITS.items()
        if (value := getattr(entry, metric)) is not None
    ]
    return json.dumps(benches, indent=1) + "\n"
