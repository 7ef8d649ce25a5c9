"""The plugin object that runs a test over its gate again, with fresh fixtures; most runs decide.

The best attempt would let a regression through that is now and then as quick as before; most of
the attempts are over the gate only if the test is, as a rule.

A repetition runs the whole of setup, call and teardown, as pytest-rerunfailures does. What a test
shares with others (fixtures of a class, a module, the session) stays as it is in between.

pytest has no public way to run one phase of a test: ``call_and_report``, ``_request``,
``_initrequest``, ``_setupstate`` and ``teardown_exact`` are used as in
``_pytest.runner.runtestprotocol``, which pytest-rerunfailures calls.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from _pytest.runner import call_and_report

from pytest_gilknock.gate.result import GATE_RESULT, NOT_JUDGED
from pytest_gilknock.measurement.breaches import SECTION
from pytest_gilknock.measurement.other_plugins import implementing
from pytest_gilknock.model import wire
from pytest_gilknock.model.statistics import majority
from pytest_gilknock.render.format import printable

if TYPE_CHECKING:
    from pytest_gilknock.gate.result import GateResult
    from pytest_gilknock.model.wire import Unmeasured


class _Attempt(NamedTuple):
    """A run of a test. One without a result was not judged by its gate, and its outcome stands."""

    reports: list[pytest.TestReport]
    result: GateResult | None
    repeat: bool


class Retries:
    """Takes over the tests that ``may_fail`` by a gate; runs them up to ``retries`` times more."""

    def __init__(self, retries: int, may_fail: Callable[[pytest.Item], bool]) -> None:
        self._retries = retries
        self._may_fail = may_fail
        self._running: str | None = None
        self._has_subtests = False

    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        if not self._may_fail(item) or not _repeatable(item):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self._running, self._has_subtests = item.nodeid, False
        try:
            attempts = [self._attempt(item, nextitem, [])]
            while attempts[-1].repeat:
                attempts.append(self._attempt(item, nextitem, attempts))
        finally:
            self._running = None
        chosen = _outcome(attempts)
        for report in chosen.reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note that a test has subtests, which are reported at once and would be so again."""
        if report.nodeid == self._running:
            self._has_subtests = True

    def _attempt(
        self, item: Any, nextitem: pytest.Item | None, earlier: list[_Attempt]
    ) -> _Attempt:
        """Run a test as pytest's own protocol does, but for the fixtures it shares with itself."""
        if not getattr(item, "_request", True):
            item._initrequest()
            _discard_instance(item)
        try:
            return self._run_phases(item, nextitem, earlier)
        finally:
            if hasattr(item, "_request"):
                item._request = False
                item.funcargs = None

    def _run_phases(
        self, item: Any, nextitem: pytest.Item | None, earlier: list[_Attempt]
    ) -> _Attempt:
        session = item.session
        reports = [call_and_report(item, "setup", log=False)]
        if reports[0].passed:
            reports.append(call_and_report(item, "call", log=False))
        result: GateResult | None = getattr(reports[-1], GATE_RESULT, None)
        stopping = session.shouldfail or session.shouldstop
        repeat = (
            result is not None
            and self._undecided([*filter(None, (one.result for one in earlier)), result])
            and not self._has_subtests
            and not stopping
        )
        until = item.parent if repeat else None if stopping else nextitem
        reports.append(call_and_report(item, "teardown", log=False, nextitem=until))
        if repeat and reports[-1].failed:
            repeat = False
            reports += _tear_down_rest(item, nextitem)
        return _Attempt(reports, result, repeat)

    def _undecided(self, results: list[GateResult]) -> bool:
        """Return whether another attempt may change what most of them say.

        A test that is within its gate at once is.
        """
        over = sum(result["breached"] for result in results)
        within = len(results) - over
        most = majority(1 + self._retries)
        return over > 0 and over < most and within <= 1 + self._retries - most


def _repeatable(item: pytest.Item) -> bool:
    """Return whether no other plugin runs this test in its own way, and nobody looks at its steps.

    To a plugin that runs failed tests again, a test over its gate is a failed one.
    """
    option = item.config.option
    return not (
        getattr(option, "usepdb", False)
        or getattr(option, "setupshow", False)
        or getattr(option, "setuponly", False)
        or _is_flaky(item)
        or _foreign_protocols(item.ihook)
    )


_REPEATING = {
    "rerunfailures": ("pytest_rerunfailures", ("reruns", "force_reruns")),
    "flaky": ("flaky", ("force_flaky",)),
    "pytest-retry": ("pytest_retry", ("retries",)),
}
"""Plugins that run failed tests again: their packages, and their settings for every test."""

_FORKED = "pytest_forked"


def _repeats_every_test(config: pytest.Config) -> str | None:
    """Return the plugin that is asked to run every failed test again, if there is one."""
    for plugin, (_, settings) in _REPEATING.items():
        if any(_is_set(config, setting) for setting in settings):
            return plugin
    return None


def _is_set(config: pytest.Config, name: str) -> bool:
    if getattr(config.option, name, None):
        return True
    try:
        return config.getini(name) not in (None, "", "0", 0)
    except (ValueError, TypeError, pytest.UsageError):
        return False  # the plugin is not there, or has no such ini key


def _is_flaky(item: pytest.Item) -> bool:
    """Return whether another plugin is asked to run this test again when it fails."""
    return (
        _repeats_every_test(item.config) is not None
        or (_marks_flaky(item.config) and item.get_closest_marker("flaky") is not None)
        or _is_decorated(item)
    )


def _marks_flaky(config: pytest.Config) -> bool:
    """Return whether there is a plugin to which the marker ``flaky`` means something."""
    has_plugin = config.pluginmanager.has_plugin
    names = {name for plugin, (package, _) in _REPEATING.items() for name in (plugin, package)}
    return any(map(has_plugin, {*names, "flaky.flaky_pytest_plugin", "pytest_retry.retry_plugin"}))


def _is_decorated(item: pytest.Item) -> bool:
    """Return whether ``@flaky`` of the plugin flaky stands at the test or its class."""
    places = (getattr(item, name, None) for name in ("function", "cls"))
    return any(hasattr(place, "_flaky_max_runs") for place in places)


def _foreign_protocols(hooks: Any) -> list[str]:
    """Return the plugins that may run a test in their own way instead of pytest's.

    Those of :data:`_REPEATING` do so only with the tests they are asked to run again, or change
    nothing by it.
    """
    packages = {package for package, _ in _REPEATING.values()}
    return implementing(hooks.pytest_runtest_protocol, besides={*packages, _FORKED})


def reason_against(config: pytest.Config) -> str | None:
    """Return why no test can be measured again in this run, None if some can."""
    if (plugin := _repeats_every_test(config)) is not None:
        return f"{plugin} runs every failed test again itself"
    if getattr(config.option, "forked", False):
        return "pytest-forked runs every test in a process of its own"
    if foreign := _foreign_protocols(config.hook):
        names = ", ".join(printable(os.path.basename(name)) for name in foreign)
        return f"{names} may run tests in a way of its own (pytest_runtest_protocol)"
    return None


def _discard_instance(item: Any) -> None:
    """Let a method's next run have an instance of its own; pytest keeps one with the item."""
    if isinstance(item.parent, pytest.Class):
        item.__dict__.pop("_instance", None)
        item._obj = None


def _tear_down_rest(item: Any, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
    """Tear down what was kept for a repetition that is not to be; return a report of its errors."""
    state = item.session._setupstate
    call = pytest.CallInfo.from_call(
        lambda: state.teardown_exact(nextitem),
        when="teardown",
        reraise=(pytest.exit.Exception, KeyboardInterrupt),
    )
    if call.excinfo is None:
        return []
    return [item.ihook.pytest_runtest_makereport(item=item, call=call)]


def _outcome(attempts: list[_Attempt]) -> _Attempt:
    """Return the attempt that counts, with the number of attempts on its reports.

    It is the one in the middle, from the best to the worst; of two, the better one. Only the last
    may not have been judged, and counts then.
    """
    number = len(attempts)
    if number == 1:
        return attempts[0]
    judged = [(attempt, attempt.result) for attempt in attempts if attempt.result is not None]
    if len(judged) < number:
        chosen = attempts[-1]
        words = f"this is the last, which {_why_not_judged(chosen.reports)}"
    else:
        judged.sort(key=lambda one: (one[1]["breached"], one[1]["severity"]))
        chosen, result = judged[number - majority(number)]
        over = sum(one["breached"] for _, one in judged)
        result["attempts"], result["breaches"] = number, over
        words = f"over the gate in {over} of them; this is the one in the middle"
    words = f"measured {number} times, {words}"
    for report in chosen.reports:
        report.user_properties.append(("gil_attempts", number))
        report.sections.append((SECTION, words))
    return chosen


def _why_not_judged(reports: list[pytest.TestReport]) -> str:
    """Return what became of an attempt that its gate did not judge, to follow "which"."""
    decided = next((one for one in reports if not one.passed), reports[-1])
    if decided.failed:
        return "is over a limit" if getattr(decided, wire.BREACH, False) else "failed by itself"
    if decided.skipped:
        return "failed as expected" if hasattr(decided, "wasxfail") else "was skipped"
    for report in reports:
        reason: str | None = getattr(report, NOT_JUDGED, None)
        unmeasured: Unmeasured | None = getattr(report, wire.UNMEASURED, None)
        if unmeasured is not None:
            reason, _ = unmeasured
        if reason is not None:
            return f"could not be judged: {printable(reason)}"
    return "was not judged"
