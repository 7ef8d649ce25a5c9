"""The properties that a test gets in JUnit XML. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.units import NOT_MEASURED

if TYPE_CHECKING:
    from pytest_gilknock.model.reading import GilReading


def reading_properties(reading: GilReading, blame: str | None = None) -> dict[str, object]:
    """Return the properties of a reading, with ``n/a`` for what was not measured.

    ``blame`` is its worst place, as reports print it.
    """
    values = {metric: metric.of(reading) for metric in METRICS.values()}
    properties: dict[str, object] = {
        f"gil_{metric.property_name}": value
        for metric, value in values.items()
        if metric.shown or (metric.asked_for != "" and value is not None)
    }
    properties["gil_method"] = reading.method
    properties["gil_blame"] = blame
    return {name: NOT_MEASURED if value is None else value for name, value in properties.items()}


def set_properties(
    user_properties: list[tuple[str, object]], properties: Mapping[str, object]
) -> None:
    """Add properties to those of a test; a rerun replaces those of the run before."""
    others = [(name, value) for name, value in user_properties if name not in properties]
    user_properties[:] = [*others, *properties.items()]
