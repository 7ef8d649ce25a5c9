"""Every reading of a run as JSON. Pure."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from pytest_gilknock.model.reading import SCHEMA_VERSION
from pytest_gilknock.render.json_lines import one_per_line
from pytest_gilknock.reporting.file_report import FileReport
from pytest_gilknock.reporting.results import PhaseResult, Results
from pytest_gilknock.reporting.run_lines import caveats


class JsonReport(FileReport):
    """What ran the tests, the whole run, and its tests sorted by id, each in a line of its own."""

    format = "json"

    def write(self, results: Results) -> Iterator[str]:
        summary = results.summary()
        head = {
            "schema": SCHEMA_VERSION,
            "pytest_gilknock": version("pytest-gilknock"),
            "python": platform.python_version(),
            "platform": sys.platform,
            "run": {"contention": summary.contention, **summary._asdict()},
            "root": results.root,
            "doubts": [line.text for line in caveats(results)],
            "holds": [hold.as_dict() for hold in results.places.holds.most(0)],
            "stalls": [{**stall._asdict(), "place": stall.place} for stall in results.stalls],
        }
        tests = (json.dumps(_test(entry)) for entry in results.everything())
        opened = json.dumps(head, indent=1).removesuffix("\n}")
        return one_per_line(opened, "tests", tests, brackets="[]", indent=1)


def _test(entry: PhaseResult) -> dict[str, Any]:
    verdicts = {verdict.limit: verdict for verdict in entry.verdicts}
    return {
        "nodeid": entry.nodeid,
        "phase": entry.record["phase"],
        "outcome": entry.outcome,
        "limits": [
            {
                **limit._asdict(),
                "verdict": _verdict(verdicts[limit].breached) if limit in verdicts else "kept",
                "fact": verdicts[limit].fact if limit in verdicts else None,
            }
            for limit in entry.limits
        ],
        "reading": entry.reading.as_dict(),
    }


def _verdict(breached: bool) -> str:
    return "breached" if breached else "not judged"
