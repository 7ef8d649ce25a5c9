"""A run as github-action-benchmark takes it: ``tool: customSmallerIsBetter``. Pure.

The README of that action has the form: a list of ``{"name", "unit", "value", "extra"}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pytest_gilknock.baseline.model import Entry
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.render import format as text


def dumps(tests: Mapping[str, Entry]) -> str:
    """Return the document; what was not measured has no place in it."""
    benches = [
        {
            "name": f"{text.printable(nodeid)} {metric.name}",
            "unit": metric.unit.name,
            "value": value,
            "extra": f"method: {entry.method}",
        }
        for nodeid, entry in sorted(tests.items())
        for metric in METRICS.values()
        if metric.worse == "higher" and (value := getattr(entry, metric.name)) is not None
    ]
    return json.dumps(benches, indent=1) + "\n"
