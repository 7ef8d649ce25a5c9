"""A raw reading, made again of what :meth:`GilReading.as_dict` returned. Pure.

Of a place there are its threads and its stacks, but not which thread stood in which stack: rows are
made that add up to both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pytest_gilknock.baseline.checks import (
    Check,
    boolean,
    count,
    list_of,
    members_of,
    method,
    number,
    one_of,
    optional,
    row_of,
    seconds,
    text,
    tuple_of,
    wrong,
)
from pytest_gilknock.model.locks import LOCK_KINDS

if TYPE_CHECKING:
    from pytest_gilknock.model.wire import RawLocks, RawReading

Part = tuple[Any, float, float]
"""A thread or a stack of a place, with what threads and what knocks waited."""


def raw_of(reading: Any, place: str) -> RawReading:
    """Return the raw reading behind what :meth:`GilReading.as_dict` returned. Raises Fault."""
    if isinstance(reading, dict):
        reading = {**_NOT_IN_OLDER_FILES, **reading}
    raw: RawReading = members_of(reading, place, _READING)  # type: ignore[assignment]
    return raw


_frame = row_of(text, count, text, optional(text))


def _stack(value: Any, place: str) -> tuple[Any, ...]:
    return tuple(list_of(_frame)(value, place))


_THREADS = list_of(
    tuple_of(
        {
            "native_id": count,
            "name": optional(text),
            "waited": seconds,
            "knock_waited": seconds,
        }
    )
)
_STACKS = list_of(tuple_of({"frames": _stack, "waited": seconds, "knock_waited": seconds}))


def _blame(value: Any, place: str) -> list[tuple[Any, ...]]:
    known = members_of(
        value, place, {"looks": count, "knock_looks": count, "threads": _THREADS, "stacks": _STACKS}
    )
    looks, knock_looks = known["looks"], known["knock_looks"]
    rows = []
    for stack, thread, waited, knock_waited in _pairs(known["stacks"], known["threads"]):
        rows.append((stack, *thread, waited, looks, knock_waited, knock_looks))
        looks = knock_looks = 0  # of the place; how they fall on its parts is not in the file
    return rows


def _victim(value: Any, place: str) -> list[tuple[Any, ...]]:
    known = members_of(
        value, place, {"longest": seconds, "waits": count, "threads": _THREADS, "stacks": _STACKS}
    )
    waits = known["waits"]
    rows = []
    for stack, thread, waited, _ in _pairs(known["stacks"], known["threads"]):
        rows.append((stack, *thread, waited, known["longest"], waits))
        waits = 0
    return rows


def _hold(value: Any, place: str) -> list[tuple[Any, ...]]:
    members: dict[str, Check] = {
        "longest": seconds,
        "count": count,
        "threads": list_of(tuple_of({"native_id": count, "name": optional(text), "held": seconds})),
        "stacks": list_of(tuple_of({"frames": _stack, "held": seconds})),
    }
    known = members_of(value, place, members)
    stacks = [(frames, held, 0.0) for frames, held in known["stacks"]]
    threads = [(*thread, 0.0) for thread in known["threads"]]
    holds = known["count"]
    rows = []
    for stack, thread, held, _ in _pairs(stacks, threads):
        rows.append((stack, *thread, held, known["longest"], holds))
        holds = 0
    return rows


def _joined(check: Check) -> Check:
    return lambda value, place: [row for rows in list_of(check)(value, place) for row in rows]


def _pairs(
    stacks: list[Part], threads: list[tuple[int, str | None, float, float]]
) -> Iterator[tuple[Any, tuple[int, str | None], float, float]]:
    """Yield (stack, thread, waited, waited by knocks), which add up to those of each."""
    stacks = stacks or [((), 0.0, 0.0)]
    threads = threads or [(0, None, 0.0, 0.0)]
    waited = _spread([part[1] for part in stacks], [part[2] for part in threads])
    knock_waited = _spread([part[2] for part in stacks], [part[3] for part in threads])
    for at in sorted({(0, 0), *waited, *knock_waited}):
        thread = threads[at[1]]
        yield (
            stacks[at[0]][0],
            (thread[0], thread[1]),
            waited.get(at, 0.0),
            knock_waited.get(at, 0.0),
        )


def _spread(rows: list[float], columns: list[float]) -> dict[tuple[int, int], float]:
    """Return amounts by (row, column) that add up to those of rows and of columns.

    Each is as large as both leave room for, from the first on (the north-west corner rule).
    """
    amounts: dict[tuple[int, int], float] = {}
    row = column = 0
    in_row, in_column = rows[0], columns[0]
    while True:
        last_row, last_column = row == len(rows) - 1, column == len(columns) - 1
        if last_row and last_column:
            amounts[row, column] = in_row
            return amounts
        if last_column or (in_row <= in_column and not last_row):
            amounts[row, column] = in_row
            in_column = max(0.0, in_column - in_row)
            row += 1
            in_row = rows[row]
        else:
            amounts[row, column] = in_column
            in_row = max(0.0, in_row - in_column)
            column += 1
            in_column = columns[column]


def _locks(value: Any, place: str) -> RawLocks | str:
    if isinstance(value, dict):
        value = {**_NOT_IN_OLDER_LOCKS, **value}
    known = members_of(value, place, _LOCKS)
    if known["reason"] is not None:
        return str(known["reason"])
    kinds = {kind: known[kind] for kind in _KINDS}
    if None in kinds.values():
        raise wrong(value, place, "waits of each kind, or a reason")
    return {
        "kinds": kinds,
        "types": known["types"],
        "threads": [
            (native_id, name, dict(zip(LOCK_KINDS, waits, strict=True)))
            for native_id, name, *waits in known["threads"]
        ],
        "threads_omitted": known["threads_omitted"],
        "victims": known["victims"],
        "blame": known["blame"],
        "victims_omitted": known["victims_omitted"],
        "blame_omitted": known["blame_omitted"],
        "longest": known["longest_waits"],
        "latency": known["latencies"],
        "spins": known["spins"],
        "places_reason": known["places_reason"],
    }


def _by_kind(check: Check) -> Check:
    """Return a check of an object with a member for some of the kinds of locks."""

    def check_kinds(value: Any, place: str) -> dict[str, Any]:
        if not isinstance(value, dict) or not value.keys() <= set(_KINDS):
            raise wrong(value, place, f"an object with members of {', '.join(_KINDS)}")
        return {kind: check(one, place) for kind, one in value.items()}

    return check_kinds


_KINDS = (*LOCK_KINDS, "unproven")
_NOT_IN_OLDER_FILES: dict[str, Any] = {
    "wait_histogram": None,
    "max_hold": None,
    "holds": [],
    "holds_unseen": 0,
    "threads_omitted": 0,
    "unlooked_reason": None,
    "locks": {
        "reason": "the file does not say",
        **dict.fromkeys(_KINDS),
        "types": [],
        "threads": [],
        "threads_omitted": 0,
    },
}
_LATENCY = optional(
    tuple_of({"count": count, "p50": seconds, "p90": seconds, "p99": seconds, "max": seconds})
)
_LONGEST: dict[str, Check] = {
    "waited": seconds,
    "began": seconds,
    "is_knock": boolean,
    "native_id": count,
    "thread_name": optional(text),
    "stack": _stack,
    "holder_stack": _stack,
    "holder_native_id": count,
    "holder_thread_name": optional(text),
}
_WAITS = tuple_of({"count": count, "waited": seconds, "longest": seconds})
_LOCKS: dict[str, Check] = {
    "reason": optional(text),
    **{kind: optional(_WAITS) for kind in _KINDS},
    "types": list_of(tuple_of({"type_name": optional(text), "waits": _WAITS})),
    "threads": list_of(
        tuple_of({"native_id": count, "name": optional(text), **dict.fromkeys(LOCK_KINDS, _WAITS)})
    ),
    "threads_omitted": count,
    "victims": _by_kind(_joined(_victim)),
    "blame": _by_kind(_joined(_victim)),
    "victims_omitted": optional(seconds),
    "blame_omitted": optional(seconds),
    "longest_waits": _by_kind(tuple_of(_LONGEST)),
    "latencies": _by_kind(_LATENCY),
    "spins": optional(count),
    "places_reason": optional(text),
}
_NOT_IN_OLDER_LOCKS: dict[str, Any] = {
    "victims": {},
    "blame": {},
    "victims_omitted": None,
    "blame_omitted": None,
    "longest_waits": {},
    "latencies": {},
    "spins": None,
    "places_reason": "the file does not say",
}
_MACHINE: dict[str, Check] = {
    "processors": number(1e6, "a number from 0 to 1e+06"),
    "idle": seconds,
    "others": seconds,
    "throttled": optional(seconds),
    "stalled": optional(seconds),
}
_THREAD: dict[str, Check] = {
    "native_id": count,
    "name": optional(text),
    "held": seconds,
    "wait": seconds,
    "acquisitions": count,
    "contended": count,
    "max_wait": seconds,
}
_READING: dict[str, Check] = {
    "method": method,
    "reason": optional(text),
    "gil_enabled": boolean,
    "switch_interval": seconds,
    "wall": seconds,
    "held": optional(seconds),
    "wait": optional(seconds),
    "acquisitions": optional(count),
    "contended": optional(count),
    "max_wait": optional(seconds),
    "knocks": count,
    "knocks_waited": count,
    "knock_latency": _LATENCY,
    "wait_latency": _LATENCY,
    "wait_histogram": optional(list_of(row_of(seconds, count))),
    "locks": _locks,
    "threads": list_of(tuple_of(_THREAD)),
    "threads_omitted": count,
    "blame": _joined(_blame),
    "blame_omitted": row_of(count, seconds, seconds),
    "blame_method": one_of("looked", "released", "none"),
    "blame_reason": optional(text),
    "hand_over": optional(seconds),
    "unlooked": optional(seconds),
    "unlooked_reason": optional(text),
    "victims": _joined(_victim),
    "knock_wait": seconds,
    "longest_wait": optional(tuple_of(_LONGEST)),
    "run_delay": optional(seconds),
    "machine": optional(tuple_of(_MACHINE)),
    "max_hold": optional(seconds),
    "holds": _joined(_hold),
    "holds_unseen": count,
}
