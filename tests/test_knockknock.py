"""The drop-in's own logic, on a scripted knocker; the real one is tested with the core."""

import pytest

from pytest_gilknock import KnockKnock, _core


class ScriptedKnocker:
    def __init__(self, *intervals):
        self.intervals = intervals
        self.is_running = False
        self.calls = []
        self.seen = (0.0, 0.0)

    def start(self):
        self.is_running = True
        self.calls.append("start")

    def stop(self):
        self.is_running = False
        self.calls.append("stop")

    def reset(self):
        self.calls.append("reset")

    def times(self):
        return self.seen


@pytest.fixture(autouse=True)
def _scripted(monkeypatch):
    monkeypatch.setattr(_core, "Knocker", ScriptedKnocker)


def intervals(*args, **kwargs):
    return KnockKnock(*args, **kwargs)._knocker.intervals


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        ((), {}, (1_000, 10_000, 100_000)),
        ((50,), {}, (50, 500, 5_000)),
        ((50, 60, 70, 80), {}, (50, 60, 70)),
        ((), {"polling_interval_micros": 50}, (50, 500, 5_000)),
        ((), {"sampling_interval_micros": 60}, (1_000, 60, 100_000)),
        ((), {"sleeping_interval_micros": 70, "timeout_micros": 5}, (1_000, 10_000, 70)),
        ((None, None, None, None), {}, (1_000, 10_000, 100_000)),
        ((), {"interval_micros": 50, "timeout_secs": 5}, (50, 500, 0)),
        ((50, 60), {"timeout_secs": 5}, (50, 60, 5_000)),
    ],
)
def test_arguments_of_both_generations(args, kwargs, expected):
    assert intervals(*args, **kwargs) == expected


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"polling_interval_micros": 1, "interval_micros": 1}, TypeError, "not both"),
        ({"timeout_micros": 1, "timeout_secs": 1}, TypeError, "not both"),
        (
            {"polling_interval_micros": -1},
            ValueError,
            "polling_interval_micros must not be negative",
        ),
        ({"interval_micros": "1"}, TypeError, "interval_micros must be a whole number, not '1'"),
        ({"sampling_interval_micros": 1.5}, TypeError, "must be a whole number, not 1.5"),
        ({"timeout_secs": -1}, ValueError, "timeout_secs must not be negative"),
        ({"unknown": 1}, TypeError, "unknown"),
    ],
)
def test_arguments_that_make_no_sense(kwargs, error, match):
    with pytest.raises(error, match=match):
        KnockKnock(**kwargs)


def test_metric_is_time_waiting_over_time_sampling():
    knocker = KnockKnock()
    assert knocker.contention_metric == 0.0
    knocker._knocker.seen = (0.25, 0.5)
    assert knocker.contention_metric == 0.5


def test_start_begins_a_new_metric_once():
    knocker = KnockKnock()
    knocker.start()
    knocker.start()
    assert knocker.is_running
    assert knocker._knocker.calls == ["reset", "start"]


def test_stop_and_reset():
    knocker = KnockKnock()
    with knocker as entered:
        assert entered is knocker
        knocker.reset_contention_metric()
    knocker.stop()
    assert not knocker.is_running
    assert knocker._knocker.calls == ["reset", "start", "reset", "stop", "stop"]
