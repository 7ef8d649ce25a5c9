"""A comparison for programs: JSON, and Markdown for CI pages. Pure, no pytest."""

from __future__ import annotations

import json
import re
from typing import Any

from pytest_gilknock.gate.compare import Change, Comparison
from pytest_gilknock.gate.text import before, cautions, cells, closing
from pytest_gilknock.model import units

SCHEMA_VERSION = 1
KIND = "pytest-gilknock comparison"

MARKDOWN_ROWS = 50
"""A CI page is read from the top, and GitHub drops a summary above 1 MiB whole."""


def as_json(comparison: Comparison) -> str:
    """Return the whole comparison; times are seconds."""
    document = {
        "schema": SCHEMA_VERSION,
        "kind": KIND,
        "before": comparison.before,
        "after": comparison.after,
        "gates": [str(gate) for gate in comparison.gates],
        "breached": bool(comparison.breaches),
        "changes": [_change(change) for change in comparison.changes],
        "unjudged": [one._asdict() for one in comparison.unjudged],
        "new": comparison.new,
        "gone": comparison.gone,
        "warnings": comparison.warnings,
        "notes": comparison.notes,
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
        "extent": change.extent,
    }


def as_markdown(comparison: Comparison, *, rows: int = MARKDOWN_ROWS) -> str:
    """Return the rows worth showing as a table of GitHub's and GitLab's Markdown."""
    lines = [f"### GIL contention compared with {code(before(comparison))}", ""]
    shown = comparison.notable[:rows]
    if shown:
        lines += ["| | metric | before | after | change | | test |", "|-|-|-:|-:|-:|-:|-|"]
        lines += [_markdown_row(change) for change in shown]
        lines.append("")
    if left := len(comparison.notable) - len(shown):
        lines += [f"{units.count(left, 'more row')} left out.", ""]
    for line in [*closing(comparison), *cautions(comparison)]:
        lines += [prose(line), ""]
    return "\n".join(lines)


def _markdown_row(change: Change) -> str:
    sign, metric, *numbers, nodeid = cells(change)
    sign = "**!**" if change.breached else f"\\{sign}"
    return "| " + " | ".join([sign, metric, *numbers, code(nodeid)]) + " |"


def code(words: str) -> str:
    """Return ``words`` as a code span that neither backticks nor a table cell's end can break."""
    words = re.sub(r"\\(?=\|)", r"\\ ", words).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", words)), default=0))
    pad = " " if words.startswith("`") or words.endswith("`") or not words else ""
    return f"{fence}{pad}{words}{pad}{fence}"


def prose(words: str) -> str:
    """Return ``words`` so that Markdown shows them as they are."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&!])", r"\\\1", words)
