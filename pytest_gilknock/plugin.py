"""The pytest plugin. Declares what users can ask for; what measures is imported only if they do."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_gilknock import gate_options, options
from pytest_gilknock.distributed import (
    Controller,
    WorkerOutlet,
    fail_worker,
    is_controller,
    is_worker,
)

if TYPE_CHECKING:
    from pytest_gilknock.measuring import Gilknock
    from pytest_gilknock.meter import Meter
    from pytest_gilknock.reporter import Reporter

_SETTINGS: pytest.StashKey[options.Settings] = pytest.StashKey()
_METER = "gilknock-meter"
_REPORTER = "gilknock-reporter"

_MARKERS = {
    "max_gil_contention": "max_gil_contention(limit, *, phase='call'): fail the test if the GIL is "
    "held for more than this share of its time (0.3 or '30%').",
    "max_gil_wait": "max_gil_wait(limit, *, phase='call'): fail the test if a thread waits "
    "longer than this for the GIL at once (seconds, or '20ms').",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    options.declare(parser)
    gate_options.declare(parser)


@pytest.fixture
def gilknock(pytestconfig: pytest.Config) -> Gilknock:
    """Measures blocks of a test: ``with gilknock.measure():``, then ``gilknock.reading``."""
    from pytest_gilknock.measuring import Gilknock

    return Gilknock(pytestconfig.stash[_SETTINGS].method)


def pytest_configure(config: pytest.Config) -> None:
    for line in _MARKERS.values():
        config.addinivalue_line("markers", line)
    settings = options.read(config)._replace(
        gate=gate_options.read(config), json_format=config.option.gil_json_format
    )
    config.stash[_SETTINGS] = settings
    if settings.switch_interval is not None:
        config.pluginmanager.register(SwitchInterval(settings.switch_interval))
    if settings.json is not None and not is_worker(config):
        _check_json_path(settings.json)
    if settings.gate is not None:
        from pytest_gilknock import gate_plugin

        gate_plugin.install(config, settings, settings.gate, lambda: _activate(config))
    if settings.measures_all:
        _activate(config)
    if os.environ.get("GITHUB_ACTIONS") == "true" and not is_worker(config):
        from pytest_gilknock.annotator import Annotator

        config.pluginmanager.register(Annotator(config))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Listen to the workers of pytest-xdist, if any: they are the ones to meet markers."""
    if is_controller(session):
        session.config.pluginmanager.register(Controller(_reporter(session.config)))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Read the markers of the tests that are going to run, and start measuring if there are any."""
    settings = config.stash[_SETTINGS]
    phases = _read_markers(config, items, settings)
    if config.option.collectonly:
        return
    if phases:
        meter = _activate(config)
        if phases != {"call"}:
            from pytest_gilknock.meter import OuterPhases

            config.pluginmanager.register(OuterPhases(meter))
    if settings.method == "exact" and config.pluginmanager.has_plugin(_METER):
        from pytest_gilknock import _core

        method, reason = _core.status()
        if method != "exact":
            _usage_error(config, f"--gil-method: 'exact' cannot be had here: {reason or method}")


class SwitchInterval:
    """Runs the tests under another switch interval (s), and restores the one there was."""

    def __init__(self, seconds: float) -> None:
        # CPython cuts off fractions of a microsecond; a float may lack a hair to a whole one.
        self._seconds = (round(seconds * 1e6) + 0.5) * 1e-6

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        before = sys.getswitchinterval()
        sys.setswitchinterval(self._seconds)
        try:
            return (yield)
        finally:
            sys.setswitchinterval(before)


def _activate(config: pytest.Config) -> Meter:
    """Return the meter of this process; makes it, and what listens to it, when first asked."""
    meter: Meter | None = config.pluginmanager.get_plugin(_METER)
    if meter is None:
        from pytest_gilknock.meter import Meter

        outlet = WorkerOutlet(config) if is_worker(config) else _reporter(config)
        meter = Meter(config.stash[_SETTINGS], outlet)
        config.pluginmanager.register(meter, _METER)
    return meter


def _reporter(config: pytest.Config) -> Reporter:
    """Return what prints and writes the readings; makes it when first asked."""
    reporter: Reporter | None = config.pluginmanager.get_plugin(_REPORTER)
    if reporter is None:
        from pytest_gilknock.reporter import Reporter

        reporter = Reporter(config, config.stash[_SETTINGS])
        config.pluginmanager.register(reporter, _REPORTER)
    return reporter


def _read_markers(
    config: pytest.Config, items: list[pytest.Item], settings: options.Settings
) -> set[str]:
    """Put the limits of each marked test on it; return the phases that have any."""
    phases: set[str] = set()
    errors: list[str] = []
    for item in _marked(items):
        from pytest_gilknock.markers import MarkerError, limits_of
        from pytest_gilknock.meter import LIMITS

        try:
            limits = limits_of(item, settings.limits_of_all)
        except MarkerError as error:
            errors.append(str(error))
        else:
            item.stash[LIMITS] = limits
            phases.update(limits)
    if errors:
        _usage_error(config, "\n".join(errors))
    return phases


def _marked(items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield the items that have one of the markers; looks at each file and class only once."""
    known: dict[pytest.Collector | None, bool] = {None: False}

    def has_marker(node: pytest.Item | pytest.Collector) -> bool:
        return any(mark.name in _MARKERS for mark in node.own_markers)

    def inherits(node: Any) -> bool:
        if node not in known:
            known[node] = has_marker(node) or inherits(node.parent)
        return known[node]

    return (item for item in items if has_marker(item) or inherits(item.parent))


def _usage_error(config: pytest.Config, text: str) -> NoReturn:
    if is_worker(config):
        fail_worker(config, text)
    raise pytest.UsageError(text)


def _check_json_path(path: str) -> None:
    from pytest_gilknock.files import check_replaceable

    try:
        check_replaceable(path)
    except OSError as error:
        raise pytest.UsageError(f"--gil-json: {error}; give the path of a file to write") from None
