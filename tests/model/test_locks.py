"""What a reading says of locks, on scripted numbers."""

from __future__ import annotations

import json

from support import scripted

from pytest_gilknock.model.locks import LockWaits
from pytest_gilknock.model.reading import GilReading, locks_of


def test_kinds_types_and_threads_come_from_the_raw_reading() -> None:
    locks = locks_of(scripted.locks())
    assert locks.reason is None
    assert locks.objects == LockWaits(40, 0.2, 0.03)
    assert locks.of("program") == LockWaits(5, 0.5, 0.2)
    assert locks.unproven == LockWaits(0, 0.0, 0.0)
    assert [one.type_name for one in locks.types] == ["dict", "list"]  # most waited for first
    assert [thread.label for thread in locks.threads] == ["MainThread", "worker"]
    assert locks.threads[1].stop_the_world == LockWaits(3, 0.06, 0.04)
    assert locks.threads[1].interpreter_wait == 0.06


def test_what_the_program_asked_for_is_no_wait_for_the_interpreter() -> None:
    locks = locks_of(scripted.locks())
    assert locks.interpreter_wait == 0.2 + 0.06 + 0.001
    assert locks.longest_interpreter_wait == 0.04
    assert locks.worst == ("objects", LockWaits(40, 0.2, 0.03))


def test_what_was_not_measured_is_none_and_has_a_reason() -> None:
    locks = locks_of("locks park since Python 3.13 only")
    assert locks.reason == "locks park since Python 3.13 only"
    assert locks.objects is locks.program is locks.interpreter_wait is None
    assert locks.longest_interpreter_wait is None
    assert locks.worst is None
    assert locks.types == locks.threads == ()


def test_nothing_waited_for_is_zero() -> None:
    zero = (0, 0.0, 0.0)
    kinds = dict.fromkeys(("objects", "stop_the_world", "interpreter", "program", "unproven"), zero)
    locks = locks_of(scripted.locks(kinds=kinds, types=[], threads=[]))
    assert locks.interpreter_wait == 0.0
    assert locks.worst is None


def test_a_wait_for_the_interpreter_is_that_for_its_gil_or_for_what_took_its_place() -> None:
    with_gil = scripted.reading(locks=scripted.locks())
    assert (with_gil.interpreter_wait, with_gil.longest_interpreter_wait) == (0.25, 0.0052)
    without = GilReading.from_raw(scripted.disabled(locks=scripted.locks()))
    assert without.interpreter_wait == without.locks.interpreter_wait
    assert without.longest_interpreter_wait == 0.04
    unknown = GilReading.from_raw(scripted.disabled())
    assert unknown.interpreter_wait is unknown.longest_interpreter_wait is None


def test_they_are_json() -> None:
    data = scripted.reading(locks=scripted.locks()).as_dict()["locks"]
    again = json.loads(json.dumps(data))
    with_stacks = {"victims", "blame", "longest_waits"}
    assert {key: again[key] for key in again.keys() - with_stacks} == {
        key: data[key] for key in data.keys() - with_stacks
    }
    frame = ["/src/app/cache.py", 12, "put", None]
    assert again["longest_waits"]["objects"]["stack"] == [frame]
    (victim,) = again["victims"]["objects"]
    assert (victim["line"], victim["waits"]) == (12, 25)
    assert victim["stacks"] == [{"frames": [frame], "waited": 0.2, "knock_waited": 0.0}]
    assert data["objects"] == {"count": 40, "waited": 0.2, "longest": 0.03}
    assert data["types"][0] == {"type_name": "dict", "waits": data["types"][0]["waits"]}
    assert data["threads"][0]["name"] == "MainThread"
    assert scripted.reading().as_dict()["locks"]["objects"] is None
