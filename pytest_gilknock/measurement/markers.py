"""The markers that limit a test: on the GIL, on locks and on stopped worlds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

from pytest_gilknock.model.limits import Limit, parse_lock_kind, parse_thread
from pytest_gilknock.model.units import parse_duration, parse_share
from pytest_gilknock.render import format as text

if TYPE_CHECKING:
    from pytest_gilknock.model.wire import Kind

MARKERS: dict[str, tuple[Kind, Callable[[object], float]]] = {
    "max_gil_contention": ("contention", parse_share),
    "max_gil_wait": ("max_wait", parse_duration),
    "max_gil_hold": ("max_hold", parse_duration),
    "max_lock_wait": ("max_lock_wait", parse_duration),
    "max_stop_the_world": ("max_stop_the_world", parse_duration),
}
PARTS: dict[Kind, str] = {"max_wait": "thread", "max_lock_wait": "kind"}
"""What a limit of a kind may be for a part of."""
PART_EXAMPLES = {"thread": 'thread="MainThread"', "kind": 'kind="objects"'}

PHASES = ("setup", "call", "teardown")

PhaseLimits = Mapping[str, tuple[Limit, ...]]


class MarkerError(ValueError):
    """A marker that cannot be used; says which, on which test, and what it accepts."""


def limits_of(item: pytest.Item, defaults: PhaseLimits) -> PhaseLimits:
    """Return the limits of a marked test, for each phase to measure.

    Of several markers for the same thread, or kind of locks, the closest to the test wins; those
    for different ones all hold. ``defaults`` hold where the test has no marker of their kind.
    Raises MarkerError.
    """
    found: dict[str, dict[tuple[Kind, str], Limit]] = {}
    for mark in _marks(item):
        phase, limit = _read(mark, item.nodeid)
        found.setdefault(phase, {}).setdefault(limit.key, limit)
    for phase, limits in defaults.items():
        marked = {kind for kind, _ in found.setdefault(phase, {})}
        for limit in limits:
            if limit.kind not in marked:
                found[phase][limit.key] = limit
    return {
        phase: tuple(limit for _, limit in sorted(found[phase].items()))
        for phase in PHASES
        if phase in found
    }


def _marks(item: pytest.Item) -> Iterator[pytest.Mark]:
    for name in MARKERS:
        yield from item.iter_markers(name)


def _read(mark: pytest.Mark, nodeid: str) -> tuple[str, Limit]:
    kind, parse = MARKERS[mark.name]
    place = f"marker {mark.name} on {text.printable(nodeid)}"
    arguments = {**dict(zip(("limit",), mark.args, strict=False)), **mark.kwargs}
    known = {"limit", "phase", *filter(None, (PARTS.get(kind),))}
    unknown = [repr(value) for value in mark.args[1:]] + sorted(arguments.keys() - known)
    if unknown:
        raise MarkerError(f"{place}: unknown argument {', '.join(unknown)}; {_usage(mark.name)}")
    if len(mark.args) + len(mark.kwargs) > len(arguments):
        raise MarkerError(f"{place}: the limit is given twice; {_usage(mark.name)}")
    if "limit" not in arguments:
        raise MarkerError(f"{place}: the limit is missing; {_usage(mark.name)}")
    phase = arguments.get("phase", "call")
    if phase not in PHASES:
        raise MarkerError(f"{place}: phase {phase!r} is not one of {', '.join(PHASES)}")
    thread, lock_kind = arguments.get("thread"), arguments.get("kind")
    try:
        limit = Limit(
            kind,
            parse(arguments["limit"]),
            f"@pytest.mark.{mark.name}",
            thread=None if thread is None else parse_thread(thread),
            lock_kind=None if lock_kind is None else parse_lock_kind(lock_kind),
        )
    except ValueError as error:
        raise MarkerError(f"{place}: {error}") from None
    return phase, limit


def _usage(name: str) -> str:
    example = "0.3" if name == "max_gil_contention" else '"20ms"'
    part = PART_EXAMPLES.get(PARTS.get(MARKERS[name][0], ""))
    forms = ["", *filter(None, (part,)), 'phase="setup"']
    *first, last = (f"@pytest.mark.{name}({', '.join(filter(None, (example, f)))})" for f in forms)
    return f"write {', '.join(first)} or {last}"
