"""A file of --gil-json read back: the same readings, and clear words for what is none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted import blamed, breach, disabled, measured, raw, sampled, totals

from pytest_gilknock.baseline.checks import is_readings
from pytest_gilknock.baseline.model import BaselineError
from pytest_gilknock.model.limits import Limit
from pytest_gilknock.model.reading import GilReading
from pytest_gilknock.reporting.file_report import find
from pytest_gilknock.reporting.reading_from_dict import _spread, raw_of
from pytest_gilknock.reporting.results import Results
from pytest_gilknock.reporting.saved_readings import results_of

STACK = (("/src/app/store.py", 14, "archive", "zlib.compress"), ("/src/t.py", 3, "test", None))
OTHER = (("", 0, "<GC>", None), ("/src/app/store.py", 14, "archive", "zlib.compress"))
LONGEST = (0.1, 0.5, False, 11, "MainThread", STACK, OTHER, 12, None)


def results(*tests):
    found = Results(top=10, sort="wait", keep_all=True, root="/src")
    for name, record in tests:
        found.add(name, "failed" if "verdicts" in record else "passed", record)
    found.add_process({**totals(raw()), "stalls": [("t", 1.5, None, 7, "Thread 0x7")]})
    return found


def document(*tests):
    return json.loads("".join(find("json").write(results(*tests))))


@pytest.mark.parametrize(
    "reading",
    [
        raw(),
        raw(longest_wait=LONGEST, machine=None, wait_latency=None, wait_histogram=[]),
        raw(
            blame=[
                (STACK, 12, "worker", 0.1, 25, 0.25, 2),
                (OTHER, 13, None, 0.05, 5, 0.5, 1),
                blamed("/src/b.py", 1, "b", 12, "worker", 0.025, 5),
            ],
            victims=[],
        ),
        raw(
            max_hold=0.03,
            holds_unseen=2,
            holds=[
                (STACK, 12, "worker", 0.125, 0.03, 4),
                (STACK, 13, None, 0.0625, 0.02, 2),
                (OTHER, 12, "worker", 0.01, 0.01, 1),
            ],
        ),
        sampled(20, 9),
        disabled(),
    ],
    ids=["exact", "longest", "blame", "holds", "sampled", "disabled"],
)
def test_a_reading_is_read_back_as_it_was(reading):
    before = GilReading.from_raw(reading)
    written = json.loads(json.dumps(before.as_dict()))
    assert GilReading.from_raw(raw_of(written, "it")) == before


def test_threads_and_stacks_of_a_place_keep_their_sums():
    rows = [
        (STACK, 12, "a", 0.5, 10, 0.0, 0),
        (STACK, 13, "b", 0.25, 10, 1.0, 4),
        ((*STACK[:1], ("/src/u.py", 9, "other", None)), 13, "b", 0.125, 10, 0.0, 0),
    ]
    before = GilReading.from_raw(raw(blame=rows))
    after = GilReading.from_raw(raw_of(json.loads(json.dumps(before.as_dict())), "it"))
    assert after.blame == before.blame


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=6),
    st.lists(st.integers(0, 50), min_size=1, max_size=6),
)
def test_amounts_add_up_to_rows_and_columns(rows, columns):
    """Integers are exact; the last row takes what the columns lack."""
    rows = [*rows, max(0, sum(columns) - sum(rows))]
    columns = [*columns, max(0, sum(rows) - sum(columns))]
    amounts = _spread(rows, columns)
    for row, amount in enumerate(rows):
        assert sum(part for (at, _), part in amounts.items() if at == row) == amount
    for column, amount in enumerate(columns):
        assert sum(part for (_, at), part in amounts.items() if at == column) == amount


def test_a_run_is_read_back():
    tests = [("a", measured(raw())), ("b", breach(raw()))]
    before = results(*tests)
    after = results_of(document(*tests), "gil.json")
    assert after.summary() == before.summary()
    assert after.stalls == before.stalls
    assert after.root == "/src"
    assert [(one.name, one.outcome, one.reading) for one in after.everything()] == [
        (one.name, one.outcome, one.reading) for one in before.everything()
    ]
    assert [one.breached for one in after.everything()] == [False, True]
    assert [one.limits for one in after.everything()] == [
        [],
        [Limit("max_wait", 0.001, "--gil-max-wait")],
    ]
    assert after.places.wait == before.places.wait
    assert [one.as_dict() for one in after.places.holders.most(0)] == [
        one.as_dict() for one in before.places.holders.most(0)
    ]


def test_a_file_without_what_came_later_is_read():
    old = document(("a", measured(raw())))
    del old["root"], old["doubts"], old["stalls"]
    for later in (
        "wait_histogram",
        "max_hold",
        "holds",
        "holds_unseen",
        "threads_omitted",
        "unlooked_reason",
    ):
        del old["tests"][0]["reading"][later]
    (test,) = results_of(old, "gil.json").everything()
    assert test.reading.wait_histogram is None
    assert (test.reading.max_hold, test.reading.holds) == (None, ())
    assert test.reading.wait == 0.25


def change(path, value):
    def apply(data):
        *folders, last = path
        for folder in folders:
            data = data[folder]
        if value is None:
            del data[last]
        else:
            data[last] = value

    return apply


READING = ("tests", 0, "reading")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("schema",), 1, "has readings of schema 1, this pytest-gilknock reads schema 2"),
        (("schema",), True, "has readings of schema true"),
        (("tests",), {}, '"tests" of the document is an object, expected a list'),
        (("tests", 0), 3, "test 0 is 3, expected an object"),
        (("tests", 0, "nodeid"), None, 'test 0 has no "nodeid"'),
        (READING, None, 'the test "a" has no "reading"'),
        ((*READING, "wall"), -1, '"wall" of "reading" of the test "a" is -1, expected seconds'),
        ((*READING, "method"), "guessed", '"guessed", expected one of exact, sampled, disabled'),
        ((*READING, "wait_histogram"), [[1]], "is a list, expected a list of 2"),
        ((*READING, "blame", 0, "stacks", 0, "frames"), [["f", "x"]], "expected a list of 4"),
        ((*READING, "threads", 0, "held"), "1 s", 'is "1 s", expected seconds from 0'),
        ((*READING, "longest_wait"), [], "is a list, expected an object"),
        (("run", "methods"), ["x"], 'element 0 of "methods" of "run" of the document is "x"'),
        (("root",), 7, '"root" of the document is 7, expected a text'),
    ],
)
def test_what_is_wrong_is_named_with_its_place(path, value, said):
    damaged = document(("a", measured(raw())))
    change(path, value)(damaged)
    with pytest.raises(BaselineError) as caught:
        results_of(damaged, "gil.json")
    assert str(caught.value).startswith("gil.json: ")
    assert said in str(caught.value)


def test_only_such_a_file_looks_like_one():
    assert is_readings(document())
    assert not is_readings({"kind": "pytest-gilknock baseline", "tests": {}})
    assert not is_readings([])
