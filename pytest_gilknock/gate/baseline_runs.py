"""The saved runs that a run is compared with, by test, in every process that runs tests. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_gilknock.baseline.model import Baseline, BaselineEntry


@dataclass(frozen=True, slots=True)
class BaselineRuns:
    """The saved runs a run is compared with: their names, and each test's entries in them."""

    names: tuple[str, ...]
    entries: Mapping[str, tuple[BaselineEntry, ...]]

    @classmethod
    def of(cls, runs: Sequence[tuple[str, Baseline]]) -> BaselineRuns:
        """Gather runs, each with the name it is shown by."""
        entries: dict[str, list[BaselineEntry]] = {}
        for _, baseline in runs:
            for nodeid, entry in baseline.tests.items():
                entries.setdefault(nodeid, []).append(entry)
        return cls(
            names=tuple(name for name, _ in runs),
            entries={nodeid: tuple(found) for nodeid, found in entries.items()},
        )

    def dumps(self) -> str:
        """Return this as a text, for a worker process, which may run on another machine."""
        entries = {
            nodeid: [one.as_list() for one in found] for nodeid, found in self.entries.items()
        }
        return json.dumps([self.names, entries], separators=(",", ":"))

    @classmethod
    def loads(cls, dumped: str) -> BaselineRuns:
        """Read what :meth:`dumps` returned."""
        names, entries = json.loads(dumped)
        return cls(
            names=tuple(names),
            entries={
                nodeid: tuple(BaselineEntry(*one) for one in found)
                for nodeid, found in entries.items()
            },
        )
