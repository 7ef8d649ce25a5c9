import json
import pickle

from support.scripted import blamed, disabled, raw, reading, sampled

from pytest_gilknock.model.reading import SCHEMA_VERSION, Blame, GilReading


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
    assert data["blame"][0] == {
        "file": "/src/app/pool.py",
        "line": 31,
        "function": "burn",
        "native_id": 12,
        "thread_name": "worker",
        "waited": 0.1,
        "knocks": 25,
    }
    later = {"blame_omitted", "blame_method", "blame_reason", "hand_over", "unlooked"}
    later |= {"victims", "knock_wait", "longest_wait"}
    assert data.keys() == {"schema", "contention", *raw()} - later


def test_reading_survives_pickle():
    assert pickle.loads(pickle.dumps(reading())) == reading()


def test_worst_first():
    blame = [blamed("a.py", 1, "f", 1, None, 0.1, 1), blamed("b.py", 2, "g", 2, None, 0.3, 1)]
    threads = [(1, None, 0.1, 0.0, 1, 0, 0.0), (2, "w", 0.3, 0.0, 1, 0, 0.0)]
    one = reading(blame=blame, threads=threads)
    assert [blame.place for blame in one.worst_blame] == ["b.py:2 g", "a.py:1 f"]
    assert [thread.label for thread in one.busiest_threads] == ["w", "thread 1"]


def test_blame_without_a_frame_or_a_thread():
    nowhere = Blame("", 0, "", 0, None, 0.1, 1)
    assert nowhere.place == "(no Python frame)"
    assert nowhere.thread_label == "an unknown thread"
