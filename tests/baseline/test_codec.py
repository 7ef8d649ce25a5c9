"""The baseline's file: written stably, read with every field checked, nothing but BaselineError."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.gate_samples import BASELINE, ENTRY, FUZZ, changed

from pytest_gilknock.baseline import codec
from pytest_gilknock.baseline.codec import KIND, MAX_BYTES, dumps, loads
from pytest_gilknock.baseline.model import Baseline, BaselineEntry, BaselineError
from pytest_gilknock.model.metrics import METRICS

SCHEMA = Draft202012Validator(
    json.loads(
        files("pytest_gilknock.baseline").joinpath("baseline.schema.json").read_text("utf-8")
    )
)

AWKWARD_IDS = [
    'test_a.py::test[a"b\\c]',
    "test_a.py::test[\n\r\t\x00\x1b[31m]",
    "tests/ünï/test_ä.py::Test::test[日本-🐍]",
    "test_a.py::test[\ud800 lone]",
    "test_a.py::test[|`<b>`|{}]",
    "__proto__",
]


def test_the_published_schema_has_every_metric() -> None:
    entry = SCHEMA.schema["$defs"]["entry"]
    assert METRICS.keys() <= entry["properties"].keys()
    assert METRICS.keys() <= set(entry["required"])
    versions = SCHEMA.schema["properties"]["schema"]["enum"]
    assert versions == list(range(1, codec.SCHEMA_VERSION + 1))


def test_the_published_schema_has_every_condition_of_an_entry() -> None:
    names = {field.name for field in fields(BaselineEntry)} - {"metrics"}
    entry = SCHEMA.schema["$defs"]["entry"]
    assert set(entry["required"]) == entry["properties"].keys() == names | METRICS.keys()


CONDITIONS_SINCE_2 = ("used", "others", "throttled", "lost", "processors", "blame")


def of_schema(version: int) -> dict[str, Any]:
    lacks = [metric.name for metric in METRICS.values() if metric.since > version]
    lacks += CONDITIONS_SINCE_2 if version < 2 else ()
    tests = {
        nodeid: {name: value for name, value in entry.items() if name not in lacks}
        for nodeid, entry in document()["tests"].items()
    }
    return document(schema=version, tests=tests)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (1, "lost"),
        (1, "max_hold"),
        *((metric.since - 1, metric.name) for metric in METRICS.values() if metric.since > 1),
    ],
)
def test_a_file_of_an_old_schema_is_read_without_what_it_does_not_have(
    version: int, name: str
) -> None:
    old = of_schema(version)
    assert SCHEMA.is_valid(old)
    assert loads(encoded(old), "b.json") == BASELINE
    old["tests"]["test_a.py::test_one"][name] = 0.1
    assert not SCHEMA.is_valid(old)
    with pytest.raises(BaselineError, match=f'has "{name}", which schema {version} does not know'):
        loads(encoded(old), "b.json")


def document(**changes: Any) -> dict[str, Any]:
    return {**json.loads(dumps(BASELINE)), **changes}


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_baseline_reads_back_as_it_was_and_is_written_the_same_again() -> None:
    baseline = replace(BASELINE, tests=dict.fromkeys(AWKWARD_IDS, ENTRY), commit=None)
    text = dumps(baseline)
    assert loads(text.encode(), "b.json") == baseline
    assert dumps(loads(text.encode(), "b.json")) == text


def test_the_file_has_one_test_per_line_sorted_so_that_a_diff_names_the_test() -> None:
    machine = {"used": 0.75, "others": 0.5, "throttled": 0.0, "lost": 0.125, "processors": 2.0}
    a = replace(ENTRY, blame="a.py:3 f", **machine)
    tests = {"b": changed(ENTRY, wait=0.00001), "a": a}
    written = dumps(replace(BASELINE, tests=tests))
    for metric in METRICS.values():
        if metric.since > 4:
            written = written.replace(f' "{metric.name}": null,', "")
    assert written == (
        "{\n"
        '  "commit": {"branch": "main", "dirty": false, "id": "3f2a9c1b"},\n'
        '  "created": "2025-01-31T12:00:00Z",\n'
        '  "interpreter": {"gil_enabled": true, "switch_interval": 0.005, "version": "3.13.0"},\n'
        '  "kind": "pytest-gilknock baseline",\n'
        '  "machine": {"arch": "x86_64", "cpus": 2, "kind": "Linux-CPython-3.13-64bit",'
        ' "release": "6.8.0"},\n'
        f'  "schema": {codec.SCHEMA_VERSION},\n'
        '  "tests": {\n'
        '    "a": {"blame": "a.py:3 f", "contended": 51, "contention": 0.5, "held": 0.5,'
        ' "knocks": 50, "knocks_waited": 25, "lock_wait": null, "lost": 0.125, "max_hold": null,'
        ' "max_wait": 0.005,'
        ' "method": "exact", "others": 0.5, "processors": 2.0, "run_delay": 0.0,'
        ' "stop_the_world": null, "threads": 4,'
        ' "throttled": 0.0, "used": 0.75, "wait": 0.25, "wall": 1.0},\n'
        '    "b": {"blame": null, "contended": 51, "contention": 0.5, "held": 0.5,'
        ' "knocks": 50, "knocks_waited": 25, "lock_wait": null, "lost": null, "max_hold": null,'
        ' "max_wait": 0.005,'
        ' "method": "exact", "others": null, "processors": null, "run_delay": 0.0,'
        ' "stop_the_world": null, "threads": 4,'
        ' "throttled": null, "used": null, "wait": 0.00001, "wall": 1.0}\n'
        "  }\n"
        "}\n"
    )


def test_a_run_without_a_measured_test_is_still_a_baseline() -> None:
    empty = replace(BASELINE, tests={})
    assert loads(dumps(empty).encode(), "b.json") == empty


def test_the_file_is_ascii_so_that_no_character_of_an_id_hides() -> None:
    text = dumps(replace(BASELINE, tests=dict.fromkeys(AWKWARD_IDS, ENTRY)))
    assert text.isascii()
    assert len(text.splitlines()) == 8 + len(AWKWARD_IDS) + 2


def with_entry(**changes: Any) -> dict[str, Any]:
    entry = document()["tests"]["test_a.py::test_one"]
    return document(tests={"test_a.py::test_one": {**entry, **changes}})


def without(key: str) -> dict[str, Any]:
    left = document()
    del left[key]
    return left


DAMAGED: list[tuple[Any, str]] = [
    (b"", "empty"),
    (b" \n", "empty"),
    (dumps(BASELINE).encode()[:300], "not JSON, or cut off"),
    (b"\xff\xfe{}", "not UTF-8: byte 0 is 0xff"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"kind": ' + b"9" * 5000 + b"}", "too many digits|kind"),
    (b'{"kind": 1, "kind": 2}', 'the key "kind" stands twice'),
    (dumps(BASELINE).replace("0.25", "NaN").encode(), "NaN is no measured number"),
    (dumps(BASELINE).replace("0.25", "-Infinity").encode(), "-Infinity is no measured number"),
    (dumps(BASELINE).replace("0.25", "1e999").encode(), '"wait" of the test'),
    (encoded([]), f'no "kind": "{KIND}"'),
    (encoded({"version": "4.0.0", "benchmarks": []}), f'no "kind": "{KIND}"'),
    (encoded({"pytest_gilknock": "0.1.0", "run": {}, "tests": []}), "readings of --gil-json"),
    (encoded(document(schema=99)), "has schema 99, this pytest-gilknock reads schemas 1 to "),
    (encoded(document(schema=True)), "has schema true"),
    (encoded(document(schema="1")), 'has schema "1"'),
    (encoded(without("schema")), "has schema null"),
    (encoded(without("machine")), 'the document has no "machine"'),
    (encoded(document(extra=1)), f'"extra", which schema {codec.SCHEMA_VERSION} does not know'),
    (encoded(document(created="yesterday")), '"created" of the document is "yesterday"'),
    (encoded(document(created="2025-01-31T12:00:00Z\n")), '"created" of the document'),
    (encoded(document(machine=[])), '"machine" of the document is a list, expected an object'),
    (encoded(document(commit=7)), '"commit" of the document is 7'),
    (encoded(document(tests=[])), '"tests" of the document is a list, expected an object'),
    (encoded(document(tests={"": {}})), "a test without a name"),
    (encoded(document(tests={"x": None})), 'the test "x" is null, expected an object'),
    (encoded(document(tests={"x": {}})), 'the test "x" has no "blame", "contended"'),
    (encoded(with_entry(wait="0.1")), 'is "0.1", expected seconds from 0'),
    (encoded(with_entry(lost=-1)), '"lost" of the test "test_a.py::test_one"'),
    (encoded(with_entry(others=1e10)), '"others" of the test "test_a.py::test_one"'),
    (encoded(with_entry(used=[])), '"used" of the test "test_a.py::test_one"'),
    (encoded(with_entry(throttled="1")), '"throttled" of the test "test_a.py::test_one"'),
    (encoded(with_entry(processors=1e7)), '"processors" of the test "test_a.py::test_one"'),
    (encoded(with_entry(blame="")), '"blame" of the test "test_a.py::test_one"'),
    (encoded(with_entry(blame=7)), '"blame" of the test "test_a.py::test_one"'),
    (dumps(BASELINE).replace('"lost": null', '"lost": NaN').encode(), "NaN is no measured"),
    (encoded(with_entry(wait=True)), "is true, expected seconds"),
    (encoded(with_entry(wait=-1e-9)), "is -1e-09, expected seconds"),
    (encoded(with_entry(wait=10**400)), "is a huge number, expected seconds"),
    (encoded(with_entry(wall=None)), '"wall" of the test "test_a.py::test_one" is null'),
    (encoded(with_entry(contention=1.01)), "is 1.01, expected a share from 0 to 1"),
    (encoded(with_entry(contended=1.5)), "is 1.5, expected a whole number"),
    (encoded(with_entry(contended=False)), "is false, expected a whole number"),
    (encoded(with_entry(knocks=2**63)), "is a huge number, expected a whole number"),
    (encoded(with_entry(method="guessed")), 'is "guessed", expected one of exact, sampled'),
    (encoded(with_entry(method=["exact"])), "is a list, expected one of exact, sampled"),
    (encoded(with_entry(nested={"a": [{}]})), 'has "nested", which'),
]


@pytest.mark.parametrize(("data", "reason"), DAMAGED)
def test_what_is_no_baseline_is_told_by_name_and_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BaselineError, match=f"^ci/b.json: .*({_literal(reason)})"):
        loads(data, "ci/b.json")


def _literal(reason: str) -> str:
    return "|".join(part.replace("[", r"\[").replace(".", r"\.") for part in reason.split("|"))


def test_a_file_too_large_to_be_a_baseline_is_refused() -> None:
    with pytest.raises(BaselineError, match="larger than 64 MiB"):
        loads(b" " * (MAX_BYTES + 1), "b.json")


def test_a_run_too_large_to_be_read_back_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(dumps(BASELINE))
    monkeypatch.setattr(codec, "MAX_BYTES", size)
    assert len(dumps(BASELINE)) == size
    monkeypatch.setattr(codec, "MAX_BYTES", size - 1)
    with pytest.raises(BaselineError, match=f"with {len(BASELINE.tests)} tests larger than"):
        dumps(BASELINE)


def test_control_characters_of_a_file_do_not_reach_the_terminal() -> None:
    with pytest.raises(BaselineError) as error:
        loads(encoded(document(created="\x1b[2J\x07")), "b.json")
    assert str(error.value).isprintable()


# --- fuzzing ---------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["exact", "", KIND, 1, 0, 1.0, 2**63, 1e9, 1.5e9, -0.0]),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3)
    ),
    max_leaves=8,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside ``value``."""
    if not isinstance(value, dict):
        return []
    return [(value, key) for key in value] + [
        place for child in value.values() for place in places(child)
    ]


def put(container: Any, key: Any, value: Any) -> None:
    container[key] = value


MUTATIONS: list[Callable[[Any, Any, Any], None]] = [
    put,
    lambda container, key, value: container.pop(key, None),
    lambda container, key, value: put(container, str(value)[:20], container.get(key)),
]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    value = document()
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places(value)))
        draw(st.sampled_from(MUTATIONS))(container, key, draw(JSON))
        if not places(value):
            break
    return value


def loaded_or_refused(data: bytes) -> Baseline | None:
    try:
        return loads(data, "b.json")
    except BaselineError:
        return None


@FUZZ
@given(mutated())
def test_a_mutated_document_loads_or_is_refused_as_the_published_schema_says(value: Any) -> None:
    # What JSON cannot say (nan, inf) is outside the schema's reach.
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        assert loaded_or_refused(json.dumps(value).encode()) is None
        return
    baseline = loaded_or_refused(text.encode())
    assert (baseline is not None) == SCHEMA.is_valid(json.loads(text))
    if baseline is not None:
        assert loads(dumps(baseline).encode(), "again") == rounded(baseline)


def rounded(baseline: Baseline) -> Baseline:
    """Files made by hand may have more digits than ours."""
    return loads(dumps(baseline).encode(), "b.json")


@FUZZ
@given(st.integers(0, 2000), st.binary(max_size=8), st.integers(0, 8))
def test_a_file_damaged_anywhere_loads_or_is_refused(at: int, new: bytes, cut: int) -> None:
    data = dumps(BASELINE).encode()
    loaded_or_refused(data[:at] + new + data[at + cut :])


@FUZZ
@given(st.binary())
def test_bytes_of_any_kind_are_refused(data: bytes) -> None:
    assert loaded_or_refused(data) is None


ENTRIES = st.builds(
    BaselineEntry,
    method=st.sampled_from(["exact", "sampled", "disabled"]),
    metrics=st.fixed_dictionaries(
        {
            "contention": st.none() | st.floats(0, 1).map(lambda share: round(share, 4)),
            "wait": st.none() | st.floats(0, 1e6).map(lambda seconds: round(seconds, 6)),
            "max_wait": st.none() | st.floats(0, 1e6).map(lambda seconds: round(seconds, 6)),
            "contended": st.none() | st.integers(0, 2**63 - 1),
        }
    ).map(lambda metrics: {**dict.fromkeys(METRICS), **metrics}),
    held=st.none() | st.floats(0, 1e6).map(lambda seconds: round(seconds, 6)),
    wall=st.floats(0, 1e6).map(lambda seconds: round(seconds, 6)),
    knocks=st.integers(0, 2**63 - 1),
    knocks_waited=st.integers(0, 2**63 - 1),
    threads=st.integers(0, 2**63 - 1),
    run_delay=st.none() | st.floats(0, 1e6).map(lambda seconds: round(seconds, 6)),
    used=st.none() | st.floats(0, 1e6).map(lambda seconds: round(seconds, 6)),
    others=st.none() | st.floats(0, 1e6).map(lambda seconds: round(seconds, 6)),
    throttled=st.none() | st.floats(0, 1e6).map(lambda seconds: round(seconds, 6)),
    lost=st.none() | st.floats(0, 1e6).map(lambda seconds: round(seconds, 6)),
    processors=st.none() | st.floats(0, 1e6).map(lambda number: round(number, 6)),
    blame=st.none() | st.text(st.characters(), min_size=1, max_size=1000),
)


@FUZZ
@given(st.dictionaries(st.text(st.characters(), min_size=1), ENTRIES, max_size=4))
def test_whatever_was_measured_under_whatever_id_reads_back_equal(
    tests: dict[str, BaselineEntry],
) -> None:
    baseline = replace(BASELINE, tests=tests)
    text = dumps(baseline)
    assert loads(text.encode(), "b.json") == baseline
    assert SCHEMA.is_valid(json.loads(text))
