"""The pytest plugin: hooks only. What measures is imported only in runs that ask for it."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gilknock import options

if TYPE_CHECKING:
    from _pytest.nodes import Node

    from pytest_gilknock.api import Gilknock

MARKERS = {
    "max_gil_contention": "max_gil_contention(limit, *, phase='call'): fail the test if the GIL is "
    "held for more than this share of its time (0.3 or '30%').",
    "max_gil_wait": "max_gil_wait(limit, *, thread=None, phase='call'): fail the test if a thread "
    "waits longer than this for the GIL at once (such as '20ms'); only the threads of this name or "
    "glob, where one is given.",
    "max_gil_hold": "max_gil_hold(limit, *, phase='call'): fail the test if the GIL is held for "
    "longer than this at once (such as '20ms') by a native call that keeps it although others ask.",
    "max_lock_wait": "max_lock_wait(limit, *, kind=None, phase='call'): fail the test if a thread "
    "waits longer than this for a lock at once (such as '20ms'); only for locks of this kind, "
    "where one is given: 'objects', 'interpreter' or 'program'.",
    "max_stop_the_world": "max_stop_the_world(limit, *, phase='call'): fail the test if the "
    "interpreter stops a thread for longer than this at once (such as '5ms'), as it does to "
    "collect garbage where the GIL is off.",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    options.declare(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Note which import turns the GIL on, where it is off and that matters: before the first."""
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        return
    given = early_config.known_args_namespace
    if given.gil_forbid or given.gil_compare is not None or _forbids_gil(early_config):
        from pytest_gilknock.measurement import gil_watch

        gil_watch.start()


def _forbids_gil(config: pytest.Config) -> bool:
    try:
        return bool(config.getini("gil_forbid"))
    except (ValueError, TypeError, pytest.UsageError):
        return False  # told when the run is configured


@pytest.fixture
def gilknock(pytestconfig: pytest.Config) -> Gilknock:
    """Measures blocks of a test: ``with gilknock.measure():``, then ``gilknock.reading``."""
    from pytest_gilknock.api import Gilknock
    from pytest_gilknock.session import settings_of

    settings = settings_of(pytestconfig).measurement
    return Gilknock(settings.method, settings.locks)


def pytest_configure(config: pytest.Config) -> None:
    for line in MARKERS.values():
        config.addinivalue_line("markers", line)
    if options.asked(config).is_used:
        from pytest_gilknock.session import start

        start(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Listen to the workers of pytest-xdist: they are the ones to meet markers."""
    config: pytest.Config = node.config
    if options.asked(config).is_used:
        from pytest_gilknock.session import listen_to_workers

        listen_to_workers(config)
    elif not config.pluginmanager.has_plugin(FirstReading.NAME):
        config.pluginmanager.register(FirstReading(config), FirstReading.NAME)


class FirstReading:
    """Hooks of a controller that is asked for nothing: its workers may meet a marker.

    What listens to them is imported when the first of them has measured or refused something.
    """

    NAME = "gilknock-first-reading"
    # The attribute of a report that brings a reading (``wire.RECORD``), and how the keys begin of
    # what a worker says at its end (``transport``).
    SENT = "gilknock"

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self.SENT in report.__dict__:
            self._listen("pytest_runtest_logreport", report=report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        message = getattr(node, "workeroutput", None) or ()
        if any(str(key).startswith(self.SENT) for key in message):
            self._listen("pytest_testnodedown", node=node, error=error)

    def _listen(self, hook: str, **arguments: object) -> None:
        """Register those who listen, and let them have the call that is being made."""
        from pytest_gilknock.session import listen_to_workers

        manager = self._config.pluginmanager
        manager.unregister(self)
        others = manager.get_plugins()
        listen_to_workers(self._config)
        manager.subset_hook_caller(hook, others)(**arguments)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, object, object]:
    """Read the markers of the tests that are going to run; measure if there are any.

    That is after other plugins, which may add markers, or leave tests out.
    """
    result = yield
    marked = list(_marked(items))
    if marked or options.asked(config).is_used:
        from pytest_gilknock.session import prepare

        prepare(config, marked)
    return result


def _marked(items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield the items that have one of the markers, be it by their class or file."""
    parent: pytest.Collector | None = None
    inherited = False
    for item in items:
        if item.parent is not parent:
            parent = item.parent
            inherited = parent is not None and any(map(_has_marker, parent.listchain()))
        if inherited or _has_marker(item):
            yield item


def _has_marker(node: Node) -> bool:
    for mark in node.own_markers:  # noqa: SIM110 (runs for every test of everybody)
        if mark.name in MARKERS:
            return True
    return False
