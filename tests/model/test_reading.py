import json
import pickle
from dataclasses import fields

import pytest
from support.scripted import disabled, locks, raw, reading, sampled

from pytest_gilknock.model.reading import SCHEMA_VERSION, GilReading, lazy_reading
from pytest_gilknock.model.wire import RawReading


def test_contention_is_the_share_of_time_held():
    assert reading(held=0.25, wall=0.5).contention == 0.5


def test_contention_is_at_most_one():
    assert reading(held=1.0000001, wall=1.0).contention == 1.0


def test_contention_of_knocks_is_the_share_that_waited():
    assert GilReading.from_raw(sampled(40, 10)).contention == 0.25


def test_contention_not_measured():
    assert GilReading.from_raw(sampled(0, 0)).contention is None
    assert GilReading.from_raw(disabled()).contention is None
    assert reading(wall=0.0, held=0.0).contention is None


def test_as_dict_is_json_with_a_schema_and_every_field():
    data = json.loads(json.dumps(reading().as_dict()))
    assert data["schema"] == SCHEMA_VERSION
    assert data["contention"] == 0.5
    assert data["threads"][1]["name"] == "worker"
    assert data["blame"][0]["function"] == "burn"
    assert data["victims"][0]["function"] == "run"
    assert data.keys() == {"schema", "contention", *raw()}


def test_reading_survives_pickle():
    assert pickle.loads(pickle.dumps(reading())) == reading()


def test_a_reading_that_came_as_json_reads_the_same():
    stack = (("/src/app/pool.py", 31, "burn", "zlib.compress"),)
    longest = (0.2, 0.1, False, 11, "MainThread", stack, stack, 12, "worker")
    holds = [(stack, 12, "worker", 0.2, 0.1, 3)]
    whole = raw(longest_wait=longest, holds=holds, locks=locks())
    assert whole["blame"]
    assert whole["victims"]
    again = json.loads(json.dumps(whole))
    texts = [json.dumps(GilReading.from_raw(one).as_dict()) for one in (again, whole)]
    assert texts[0] == texts[1]


def test_worst_first():
    threads = [(1, None, 0.1, 0.0, 1, 0, 0.0), (2, "w", 0.3, 0.0, 1, 0, 0.0)]
    one = reading(threads=threads)
    assert [thread.label for thread in one.busiest_threads] == ["w", "thread 1"]


@pytest.mark.parametrize(
    "raw_reading", [raw(), sampled(40, 10), disabled()], ids=lambda r: r["method"]
)
def test_a_lazy_reading_reads_as_a_whole_one(raw_reading: RawReading):
    lazy, whole = lazy_reading(raw_reading), GilReading.from_raw(raw_reading)
    names = [field.name for field in fields(GilReading)] + ["contention", "busiest_threads"]
    assert {name: getattr(lazy, name) for name in names} == {
        name: getattr(whole, name) for name in names
    }
    assert lazy.locks is lazy.locks
    with pytest.raises(AttributeError):
        _ = lazy.of_no_such_name  # type: ignore[attr-defined]
