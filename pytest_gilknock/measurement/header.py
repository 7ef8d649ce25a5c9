"""The plugin object that says, before the tests, how they are measured and what limits hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gilknock.measurement.transport import has_workers
from pytest_gilknock.render import format as text

if TYPE_CHECKING:
    from pytest_gilknock.measurement.settings import MeasurementSettings


class Header:
    """Lives in the process that prints: the only one, or the controller of pytest-xdist."""

    def __init__(self, settings: MeasurementSettings) -> None:
        self._settings = settings

    def pytest_report_header(self, config: pytest.Config) -> str:
        limits = [f"{limit.source} {text.printable(limit.text)}" for limit in self._settings.limits]
        return f"gilknock: {'; '.join([self._method(config), *limits])}"

    def _method(self, config: pytest.Config) -> str:
        if has_workers(config):
            return f"method {self._settings.method}, in each worker"
        from pytest_gilknock import _core

        method, reason = _core.status()
        if method == "disabled":
            return "the GIL is disabled"
        if self._settings.method == "sampled":
            return "method sampled, as asked for"
        return f"method {method}" + (f" ({text.printable(reason)})" if reason else "")
