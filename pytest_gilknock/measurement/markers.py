"""The markers ``max_gil_contention`` and ``max_gil_wait``: the limits of a test, by phase."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

from pytest_gilknock.model.limits import Limit
from pytest_gilknock.model.units import parse_duration, parse_share
from pytest_gilknock.render import format as text

if TYPE_CHECKING:
    from pytest_gilknock.model.wire import Kind

MARKERS: dict[str, tuple[Kind, Callable[[object], float]]] = {
    "max_gil_contention": ("contention", parse_share),
    "max_gil_wait": ("max_wait", parse_duration),
}
PHASES = ("setup", "call", "teardown")

PhaseLimits = Mapping[str, tuple[Limit, ...]]


class MarkerError(ValueError):
    """A marker that cannot be used; says which, on which test, and what it accepts."""


def limits_of(item: pytest.Item, defaults: PhaseLimits) -> PhaseLimits:
    """Return the limits of a marked test, for each phase to measure.

    The marker closest to the test wins; ``defaults`` hold where it has none of their kind. Raises
    MarkerError.
    """
    found: dict[tuple[str, Kind], Limit] = {}
    for mark in _marks(item):
        phase, limit = _read(mark, item.nodeid)
        found.setdefault((phase, limit.kind), limit)
    for phase, limits in defaults.items():
        for limit in limits:
            found.setdefault((phase, limit.kind), limit)
    return {
        phase: tuple(limit for (at, _), limit in sorted(found.items()) if at == phase)
        for phase in PHASES
        if phase in defaults or any(at == phase for at, _ in found)
    }


def _marks(item: pytest.Item) -> Iterator[pytest.Mark]:
    for name in MARKERS:
        yield from item.iter_markers(name)


def _read(mark: pytest.Mark, nodeid: str) -> tuple[str, Limit]:
    kind, parse = MARKERS[mark.name]
    place = f"marker {mark.name} on {text.printable(nodeid)}"
    arguments = {**dict(zip(("limit",), mark.args, strict=False)), **mark.kwargs}
    unknown = [repr(value) for value in mark.args[1:]] + sorted(
        arguments.keys() - {"limit", "phase"}
    )
    if unknown:
        raise MarkerError(f"{place}: unknown argument {', '.join(unknown)}; {_usage(mark.name)}")
    if len(mark.args) + len(mark.kwargs) > len(arguments):
        raise MarkerError(f"{place}: the limit is given twice; {_usage(mark.name)}")
    if "limit" not in arguments:
        raise MarkerError(f"{place}: the limit is missing; {_usage(mark.name)}")
    phase = arguments.get("phase", "call")
    if phase not in PHASES:
        raise MarkerError(f"{place}: phase {phase!r} is not one of {', '.join(PHASES)}")
    try:
        bound = parse(arguments["limit"])
    except ValueError as error:
        raise MarkerError(f"{place}: {error}") from None
    return phase, Limit(kind, bound, f"@pytest.mark.{mark.name}")


def _usage(name: str) -> str:
    example = "0.3" if name == "max_gil_contention" else '"20ms"'
    return f'write @pytest.mark.{name}({example}) or @pytest.mark.{name}({example}, phase="setup")'
