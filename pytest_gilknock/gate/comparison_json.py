"""A comparison for programs: JSON. Pure."""

from __future__ import annotations

import json
from typing import Any

from pytest_gilknock.gate.compare import Change
from pytest_gilknock.gate.runs import Comparison

SCHEMA_VERSION = 1
KIND = "pytest-gilknock comparison"


def as_json(comparison: Comparison) -> str:
    """Return the whole comparison; times are seconds."""
    document = {
        "schema": SCHEMA_VERSION,
        "kind": KIND,
        "before": comparison.before,
        "after": comparison.after,
        "gates": [str(gate) for gate in comparison.gates],
        "breached": comparison.failed,
        "changes": [_change(change) for change in comparison.changes],
        "unjudged": [one._asdict() for one in comparison.incomparable],
        "new": comparison.new,
        "gone": comparison.gone,
        "warnings": comparison.caveats,
        "notes": comparison.notes,
        "gil_turned_on": comparison.gil_turned_on,
        "others_unknown": comparison.others_unknown,
    }
    return json.dumps(document, indent=1) + "\n"


def _change(change: Change) -> dict[str, Any]:
    return {
        "nodeid": change.nodeid,
        "metric": change.metric,
        "verdict": change.verdict,
        "before": change.before,
        "after": change.after,
        "difference": change.difference,
        "spread": change.spread._asdict(),
        "gate": None if change.gate is None else str(change.gate),
        "extent": change.severity,
        "needed": change.needed,
        "allowed_by_gate": None if change.gate is None else change.allowed_by_gate,
        "needs_more_for": change.causes,
        "doubt": change.caveat or None,
        "blame": change.blame,
    }
