"""The readings of a run, read back from a file of ``--gil-json``. Pure.

A file has less than a run at its end: no timelines, and of each place its threads and its stacks,
but not which thread stood in which stack. The sums of each are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, get_args

from pytest_gilknock.baseline.checks import (
    Check,
    Fault,
    boolean,
    count,
    list_of,
    members_of,
    method,
    one_of,
    optional,
    row_of,
    seconds,
    shown,
    text,
    wrong,
)
from pytest_gilknock.baseline.model import BaselineError
from pytest_gilknock.model.locks import LIMITED_KINDS, LOCK_KINDS
from pytest_gilknock.model.reading import SCHEMA_VERSION
from pytest_gilknock.model.stalls import Stall
from pytest_gilknock.model.wire import Kind
from pytest_gilknock.reporting.reading_from_dict import raw_of
from pytest_gilknock.reporting.results import Results, RunSummary

if TYPE_CHECKING:
    from pytest_gilknock.model.wire import PhaseRecord, PlainLimit, RawReading

MAX_BYTES = 1024**3
TOO_LARGE = "larger than 1 GiB, the most a file of readings may have"


class SavedResults(Results):
    """The results of a run that is over, in another process. All of its tests are kept."""

    def __init__(
        self, summary: RunSummary, stalls: list[Stall], caveats: list[str], root: str
    ) -> None:
        super().__init__(top=0, sort="wait", keep_all=True, root=root)
        self._summary = summary
        self._stalls = stalls
        self.caveats = caveats
        """Why numbers may be off, in lines."""

    @property
    def stalls(self) -> list[Stall]:
        """The times in which no thread could get the GIL."""
        return self._stalls

    def summary(self) -> RunSummary:
        """Return the run as a whole."""
        return self._summary


def results_of(document: dict[str, Any], place: str) -> SavedResults:
    """Return what a file of ``--gil-json`` has; ``place`` names it in errors.

    Raises BaselineError, which names the file, the value and what is accepted.
    """
    try:
        return _results(document)
    except Fault as fault:
        raise BaselineError(f"{place}: {fault}") from None


def _results(document: dict[str, Any]) -> SavedResults:
    version = document.get("schema")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise Fault(
            f"has readings of schema {shown(version)}, this pytest-gilknock reads schema"
            f" {SCHEMA_VERSION}: another version of pytest-gilknock made it"
        )
    head = members_of(
        {"stalls": [], "doubts": [], "root": "", **document},
        "the document",
        {"run": _run, "stalls": list_of(_stall), "doubts": list_of(text), "root": text},
    )
    results = SavedResults(head["run"], head["stalls"], head["doubts"], head["root"])
    tests = document["tests"]
    if not isinstance(tests, list):
        raise wrong(tests, '"tests" of the document', "a list")
    for at, test in enumerate(tests):
        known = members_of(test, f"test {at}", {"nodeid": text, "phase": text, "outcome": text})
        place = f"the test {shown(known['nodeid'])}"
        record: PhaseRecord = {"phase": known["phase"], "raw": _reading_of(test, place)}
        record.update(_judged(test, place))  # type: ignore[typeddict-item]
        results.add(known["nodeid"], known["outcome"], record)
    return results


def _run(value: Any, place: str) -> RunSummary:
    if isinstance(value, dict):
        value = {"locks": None, "locks_reasons": [], **value}  # older files do not have them
    return RunSummary(
        **members_of(
            value,
            place,
            {
                "processes": count,
                "methods": list_of(method),
                "reasons": list_of(text),
                "gil_enabled": boolean,
                "wall": seconds,
                "held": optional(seconds),
                "wait": optional(seconds),
                "knocks": count,
                "knocks_waited": count,
                "windows_cost": seconds,
                "knocks_held": seconds,
                "locks": optional(_lock_sums),
                "locks_reasons": list_of(text),
            },
        )
    )


def _lock_sums(value: Any, place: str) -> dict[str, Any]:
    row = row_of(count, seconds, seconds)
    return members_of(value, place, dict.fromkeys((*LOCK_KINDS, "unproven"), row))


def _stall(value: Any, place: str) -> Stall:
    members: dict[str, Check] = {
        "test": text,
        "lasted": seconds,
        "thread": optional(text),
        "ident": count,
        "stacks": text,
    }
    return Stall(**members_of(value, place, members))


def _judged(test: dict[str, Any], place: str) -> dict[str, Any]:
    (limits,) = members_of(test, place, {"limits": list_of(_limit)}).values()
    if not limits:
        return {}
    verdicts = [
        (limit, verdict == "breached", fact or "")
        for limit, verdict, fact in limits
        if verdict != "kept"
    ]
    return {"limits": [limit for limit, _, _ in limits], "verdicts": verdicts}


def _limit(value: Any, place: str) -> tuple[PlainLimit, str, str | None]:
    if isinstance(value, dict):
        value = {"lock_kind": None, **value}  # not in older files
    known = members_of(
        value,
        place,
        {
            "kind": one_of(*get_args(Kind)),
            "bound": seconds,
            "source": text,
            "thread": optional(text),
            "lock_kind": optional(one_of(*LIMITED_KINDS)),
            "verdict": one_of("kept", "breached", "not judged"),
            "fact": optional(text),
        },
    )
    *limit, verdict, fact = known.values()
    return cast("PlainLimit", tuple(limit)), verdict, fact


def _reading_of(test: dict[str, Any], place: str) -> RawReading:
    (reading,) = members_of(test, place, {"reading": lambda value, place: value}).values()
    return raw_of(reading, f'"reading" of {place}')
