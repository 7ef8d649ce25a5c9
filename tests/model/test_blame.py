import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted import blamed, reading

from pytest_gilknock.model.blame import ThreadPart, blame_of, group_label, listed, victims_of
from pytest_gilknock.model.longest_wait import longest_wait_of
from pytest_gilknock.model.stack import COLLECTING, Frame, names_of, thread_label

PARSE = ("/src/svc/parsing.py", 9, "parse_batch", None)
STORE = ("/src/svc/store.py", 14, "archive", "zlib.compress")
TEST = ("/src/tests/test_svc.py", 3, "test_batch", None)


def test_stacks_of_one_place_are_one_row_with_its_threads_and_stacks():
    rows = [
        ((PARSE, TEST), 11, None, 0.1, 4, 0.0, 0),
        ((PARSE,), 12, "worker", 0.3, 9, 0.02, 1),
        ((PARSE,), 11, None, 0.1, 3, 0.0, 0),
        ((STORE,), 11, None, 0.2, 5, 0.0, 0),
    ]
    first, second = blame_of(rows, {11: "MainThread"})
    assert (first.function, first.looks, first.knock_looks) == ("parse_batch", 16, 1)
    assert first.waited == 0.5
    assert [part.label for part in first.threads] == ["worker", "MainThread"]
    assert first.threads[1] == ThreadPart(11, "MainThread", 0.2, 0.0)
    assert [len(part.frames) for part in first.stacks] == [1, 2]
    assert first.thread_label == "worker and 1 more"
    assert second.place.inside == "zlib.compress"


def _calling(callee: str | None):
    if callee == COLLECTING:
        return (("", 0, COLLECTING, None), STORE)
    return ((*STORE[:3], callee),)


@pytest.mark.parametrize(
    ("callees", "inside", "more"),
    [
        ({"zlib.compress": 0.2}, "zlib.compress", 0),
        ({"zlib.compress": 0.2, None: 0.1}, "zlib.compress", 0),
        ({"zlib.compress": 0.2, None: 0.3}, None, 0),
        ({"zlib.compress": 0.1, "zlib.crc32": 0.2, "zlib.adler32": 0.1}, "zlib.crc32", 2),
        ({"zlib.compress": 0.1, None: 0.1, "zlib.crc32": 0.2}, "zlib.crc32", 1),
        ({COLLECTING: 0.2}, COLLECTING, 0),
        ({COLLECTING: 0.2, None: 0.1}, COLLECTING, 1),
        ({COLLECTING: 0.2, None: 0.1, "zlib.crc32": 0.1}, COLLECTING, 2),
        ({COLLECTING: 0.1, None: 0.2}, None, 0),
    ],
)
def test_a_line_is_one_row_whatever_it_calls(callees, inside, more):
    rows = [(_calling(callee), 1, "a", waited, 3, 0.0, 0) for callee, waited in callees.items()]
    (blame,) = blame_of(rows, {})
    assert blame.place[1:] == (inside, more)
    assert blame.waited == pytest.approx(sum(callees.values()))
    (victim,) = victims_of([(*row[:4], 0.1, 1) for row in rows], {})
    assert victim.place == blame.place


def test_what_only_knocks_saw_names_what_a_line_calls():
    (blame,) = blame_of([((STORE,), 1, "a", 0.0, 0, 0.2, 4)], {})
    assert blame.place.inside == "zlib.compress"


def test_blame_without_a_frame_or_a_thread():
    (nowhere,) = blame_of([((), 0, None, 0.1, 1, 0.0, 0)], {})
    assert (nowhere.frame, nowhere.file, nowhere.line, nowhere.function) == (None, "", 0, "")
    assert nowhere.thread_label == "an unknown thread"


def test_rows_with_few_looks_or_little_of_the_wait_are_not_listed():
    rows = [
        blamed("a.py", 1, "a", 1, "t", 0.5, 20),
        blamed("b.py", 2, "b", 1, "t", 0.4, 2),
        blamed("c.py", 3, "c", 1, "t", 0.009, 3),
    ]
    assert [row.function for row in listed(blame_of(rows, {}), 1.0)] == ["a"]


def test_where_threads_did_not_wait_the_knocks_say_who_held_it():
    rows = [
        ((("a.py", 1, "a", None),), 1, "t", 0.0, 0, 0.1, 3),
        ((("b.py", 1, "b", None),), 1, "t", 0.0, 0, 0.3, 8),
        ((("c.py", 1, "c", None),), 1, "t", 1e-5, 1, 0.0, 0),
    ]
    assert [row.function for row in listed(blame_of(rows, {}), 1e-4)] == ["b", "a"]
    assert [row.function for row in listed(blame_of(rows, {}), None)] == ["b", "a"]


def test_the_worst_row_is_listed_whatever_it_rests_on():
    rows = blame_of([blamed("a.py", 1, "a", 1, "t", 0.5, 1)], {})
    assert listed(rows, 1.0) == list(rows)
    assert listed((), 1.0) == []


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([PARSE, STORE, TEST]), max_size=3).map(tuple),
            st.integers(0, 3),
            st.none(),
            st.integers(0, 1000),
            st.integers(1, 9),
            st.integers(0, 1000),
            st.integers(0, 9),
        )
    )
)
def test_grouping_loses_nothing(rows):
    found = blame_of(rows, {})
    assert len({blame.place for blame in found}) == len(found)
    for column, name in ((3, "waited"), (4, "looks"), (5, "knock_waited"), (6, "knock_looks")):
        assert sum(getattr(blame, name) for blame in found) == sum(row[column] for row in rows)
    for blame in found:
        for parts in (blame.threads, blame.stacks):
            assert sum(part.waited for part in parts) == blame.waited
            assert sum(part.knock_waited for part in parts) == blame.knock_waited


def test_victims_keep_the_longest_wait_of_all():
    rows = [
        ((TEST,), 11, "MainThread", 0.2, 0.05, 9),
        ((TEST,), 12, "worker", 0.3, 0.04, 11),
        ((PARSE,), 12, "worker", 0.1, 0.1, 1),
    ]
    first, second = victims_of(rows, {})
    assert (first.waited, first.longest, first.waits) == (0.5, 0.05, 20)
    assert first.thread_label == "worker and 1 more"
    assert second.function == "parse_batch"


def test_threads_that_had_one_id_after_another_are_told_apart():
    rows = [
        ((TEST,), 11, "first", 0.2, 0.05, 9),
        ((TEST,), 11, "second", 0.3, 0.04, 11),
        ((TEST,), 12, None, 0.1, 0.04, 11),
    ]
    (victim,) = victims_of(rows, names_of([(11, "first"), (11, "second"), (12, "third")]))
    assert [thread.label for thread in victim.threads] == ["second", "first", "third"]
    (unnamed,) = victims_of([((TEST,), 11, None, 0.2, 0.05, 9)], names_of([(11, "a"), (11, "b")]))
    assert unnamed.thread_label == "thread 11"


def test_threads_that_are_not_told_apart_come_last_in_a_name():
    rows = [
        ((TEST,), 0, "other threads", 0.5, 0.05, 90),
        ((TEST,), 11, "worker_1", 0.2, 0.05, 9),
        ((TEST,), 12, "worker_2", 0.1, 0.05, 9),
    ]
    (victim,) = victims_of(rows, {})
    assert victim.thread_label == "worker_* (2) and others"
    assert victim.threads[0].label == "other threads"


def test_the_longest_wait_names_both_sides():
    raw = (0.067, 0.2, False, 11, None, (TEST,), (PARSE, TEST), 12, "worker")
    longest = longest_wait_of(raw, {11: "MainThread"})
    assert longest is not None
    assert (longest.thread_label, longest.holder_label) == ("MainThread", "worker")
    assert longest.holder_stack[0] == Frame(*PARSE)
    knock = longest_wait_of((0.01, 0.0, True, 0, None, (), (), 0, None), {})
    assert knock is not None
    assert knock.thread_label == "gilknock's own thread"
    assert longest_wait_of(None, {}) is None


def test_rows_are_json_ready():
    (blame,) = blame_of([((STORE, TEST), 11, "MainThread", 0.1, 4, 0.0, 0)], {})
    data = json.loads(json.dumps(blame.as_dict()))
    assert data["inside"] == "zlib.compress"
    assert data["stacks"][0]["frames"] == [list(STORE), list(TEST)]
    assert data["threads"] == [
        {"native_id": 11, "name": "MainThread", "waited": 0.1, "knock_waited": 0.0}
    ]


def test_threads_have_a_label():
    assert thread_label("worker", 7) == "worker"
    assert thread_label(None, 7) == "thread 7"
    assert thread_label(None, 0) == "an unknown thread"


@pytest.mark.parametrize(
    ("labels", "label"),
    [
        (["worker"], "worker"),
        (["ThreadPoolExecutor-0_1", "ThreadPoolExecutor-0_0"], "ThreadPoolExecutor-0_* (2)"),
        (["MainThread", "worker", "ticker"], "MainThread and 2 more"),
        (["a1", "a2"], "a1 and 1 more"),
        (["AnyIO worker thread", "AnyIO worker thread"], "AnyIO worker thread (2)"),
        (["other threads"], "other threads"),
        (["other threads", "worker"], "worker and others"),
        (["worker", "a1", "other threads"], "worker, 1 more and others"),
    ],
)
def test_threads_together_have_a_label(labels, label):
    assert group_label(labels) == label


def test_holds_are_grouped_by_place_the_longest_first():
    inner, caller = (
        ("/lib/python3.12/zlib.py", 3, "f", "zlib.crc32"),
        ("/src/a.py", 5, "call", None),
    )
    rows = [
        (((("/src/b.py", 1, "g", None)),), 11, "one", 0.5, 0.02, 30),
        ((inner, caller), 11, "one", 0.1, 0.03, 4),
        ((caller,), 12, None, 0.2, 0.05, 5),
        ((inner, caller), 12, None, 0.04, 0.04, 1),
    ]
    found = reading(max_hold=0.05, holds=rows, holds_unseen=2)
    assert [(hold.line, hold.place.inside, hold.count) for hold in found.holds] == [
        (5, None, 5),
        (5, "zlib.crc32", 5),
        (1, None, 30),
    ]
    second = found.holds[1]
    assert (second.longest, round(second.held, 9)) == (0.04, 0.14)
    assert [part.label for part in second.threads] == ["one", "worker"]  # by the threads' names
    plain = found.as_dict()
    assert (plain["max_hold"], plain["holds_unseen"]) == (0.05, 2)
    assert plain["holds"][1]["threads"][0] == {"native_id": 11, "name": "one", "held": 0.1}
    assert plain["holds"][1]["stacks"][0]["frames"][0] == inner
