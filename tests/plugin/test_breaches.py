"""What a report says of a broken limit or gate."""

import pytest
from support import scripted

from pytest_gilknock.measurement.breaches import blamed_line, summary_of


def test_the_line_to_blame_for_a_limit_on_locks_is_of_the_locks_that_it_is_for():
    places = {
        kind: [scripted.lock_place(f"/src/app/{kind}.py", 7, "put", 11, "MainThread", 0.2)]
        for kind in ("objects", "stop_the_world", "program")
    }
    kinds = dict.fromkeys(("objects", "stop_the_world", "interpreter"), (1, 0.5, 0.5))
    kinds |= {"program": (1, 9.0, 9.0), "unproven": (0, 0.0, 0.0)}
    raw = scripted.disabled(locks=scripted.locks(kinds=kinds, victims=places, blame=places))

    def line(*limits):
        verdicts = [(limit, True, "too long") for limit in limits]
        return blamed_line(scripted.measured(raw, verdicts=verdicts))

    stopped = ("max_stop_the_world", 0.01, "--gil-max-stop-the-world", None, None)
    objects = ("max_lock_wait", 0.01, "--gil-max-lock-wait", None, "objects")
    locks = ("max_lock_wait", 0.01, "--gil-max-lock-wait", None, None)
    assert line(stopped) == ["/src/app/stop_the_world.py", 7]
    assert line(objects) == ["/src/app/objects.py", 7]
    assert line(objects, locks) == ["/src/app/program.py", 7]


def test_the_line_to_blame_for_a_gate_where_the_gil_is_off_is_where_locks_were_let_go():
    waited = scripted.disabled(locks=scripted.locks())
    assert blamed_line(scripted.measured(waited)) == ["/src/app/cache.py", 15]


def test_the_line_to_blame_for_a_gate_is_of_what_its_metric_is_about():
    places = {
        kind: [scripted.lock_place(f"/src/app/{kind}.py", 7, "put", 11, "MainThread", 0.2)]
        for kind in ("program", "stop_the_world")
    }
    measured = scripted.measured(
        scripted.raw(locks=scripted.locks(victims=places, blame=places), **scripted.AUDITED)
    )
    assert blamed_line(measured, "stop_the_world") == ["/src/app/stop_the_world.py", 7]
    assert blamed_line(measured, "lock_wait") == ["/src/app/program.py", 7]
    assert blamed_line(measured, "max_hold") == ["/src/app/native.py", 5]
    assert blamed_line(measured, "wait") == ["/src/app/pool.py", 31]


@pytest.mark.parametrize(
    ("failure", "summary"),
    [
        (
            "GIL limit exceeded: gilknock's own thread waited 99.9 ms, kept by a.py:5 f in"
            " MainThread; limit 20 ms, set by --gil-max-wait\n  contention  0.998",
            "GIL: gilknock's own thread waited 99.9 ms, kept by a.py:5 f in MainThread; limit"
            " 20 ms, set by --gil-max-wait",
        ),
        ("lock limit exceeded during setup: x: y", "lock: x: y"),
        ("stop-the-world limit exceeded: a waited 2 ms", "stop-the-world: a waited 2 ms"),
        ("GIL contention regression: wait 2 ms, was 1 ms", "GIL: wait 2 ms, was 1 ms"),
    ],
)
def test_the_summary_begins_with_the_number_and_has_one_line(failure, summary):
    assert summary_of(failure) == summary
