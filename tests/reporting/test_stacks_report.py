"""Collapsed stacks: their lines, and that a parser which is not this project's reads them."""

import io
import re

import pytest
from support.scripted import blamed, disabled, measured, raw, sampled

from pytest_gilknock.reporting.file_report import find
from pytest_gilknock.reporting.results import Results

ROOT = "/work/project"
TEST = (f"{ROOT}/tests/test_svc.py", 3, "test_it", None)
STORE = (f"{ROOT}/svc/store.py", 14, "archive", "zlib.compress")
LOOP = (f"{ROOT}/svc/loop.py", 7, "run", None)
HOSTILE = ("/tmp/my dir/a;b\n.py", 5, "g.<locals>.f 12", "x;y 3")

# How flamegraph.pl takes a line apart; in a second number it sees another run to compare with.
FLAMEGRAPH = re.compile(r"^(.*)\s+?(\d+(?:\.\d*)?)$")


def row(stack, waited, knock_waited=0.0, thread="worker"):
    return (stack, 12, thread, waited, 9, knock_waited, 9 if knock_waited else 0)


def victim(stack, waited):
    return (stack, 11, "MainThread", waited, 0.01, 30)


def report_of(*readings):
    results = Results(top=0, sort="wait", keep_all=True, root=ROOT)
    for number, one in enumerate(readings):
        results.add(f"test_a.py::t{number}", "passed", measured(one))
    report = find("stacks")
    return "".join(report.write(results)), list(report.caveats(results))


def lines_of(*readings):
    return report_of(*readings)[0].splitlines()


def test_stacks_are_summed_over_tests_and_threads():
    first = raw(
        blame=[row((STORE, TEST), 0.1), row((STORE, TEST), 0.02, thread="other")],
        victims=[victim((LOOP, TEST), 0.2)],
    )
    second = raw(blame=[row((STORE, TEST), 0.0000014, 0.5)], victims=[victim((LOOP, TEST), 0.05)])
    assert lines_of(first, second) == [
        "holders;test_it (tests/test_svc.py:3);archive (svc/store.py:14);zlib.compress 120001",
        "holders_while_knocks_waited;test_it (tests/test_svc.py:3);archive (svc/store.py:14);"
        "zlib.compress 500000",
        "victims;test_it (tests/test_svc.py:3);run (svc/loop.py:7) 250000",
    ]


def test_special_frames_and_no_frame():
    stacks = [(("", 0, "<GC>", None), TEST, ("", 0, "<more>", None)), ()]
    assert lines_of(raw(blame=[row(stack, 0.1) for stack in stacks], victims=[])) == [
        "holders;(no_Python_frame) 100000",
        "holders;<more>;test_it (tests/test_svc.py:3);<GC> 100000",
    ]


def test_what_was_not_waited_for_has_no_line():
    assert lines_of(disabled(), raw(blame=[row((TEST,), 4e-7)], victims=[])) == []
    knocked = sampled(9, 9, blame=[row((TEST,), 0.0, 0.1)])
    assert lines_of(knocked) == ["holders_while_knocks_waited;test_it (tests/test_svc.py:3) 100000"]


def test_names_from_outside_are_harmless():
    (line,) = lines_of(raw(blame=[row((HOSTILE, TEST), 0.1)], victims=[]))
    assert line == (
        "holders;test_it (tests/test_svc.py:3);g.f_12 (/tmp/my_dir/a,b\\n.py:5);x,y_3 100000"
    )
    stack, weight = FLAMEGRAPH.match(line).groups()
    assert weight == "100000"
    assert not FLAMEGRAPH.match(stack)
    assert stack.count(";") == 3


def test_what_is_left_out_is_told():
    text, caveats = report_of(raw(blame_omitted=(3, 0.02, 0.0)), raw(blame_omitted=(1, 0.01, 0.0)))
    assert text
    assert caveats == ["The stacks lack 30.0 ms of waiting: a reading keeps its worst places only"]
    assert report_of(raw())[1] == []


def test_without_a_gil_it_is_told_why_there_are_no_stacks():
    text, caveats = report_of(disabled(), disabled())
    assert text == ""
    assert caveats == ["There are no stacks of holders and victims: the GIL is off"]
    assert report_of(disabled(), raw(blame_omitted=(0, 0.0, 0.0)))[1] == []


def test_another_parser_reads_it():
    gprof2dot = pytest.importorskip("gprof2dot", reason="needs the extra 'test'")
    other = blamed(f"{ROOT}/svc/other.py", 4, "other", 12, "worker", 0.05, 5)
    stacks = [row((HOSTILE, TEST), 0.1), row((STORE, TEST), 0.2), other]
    text, _ = report_of(raw(blame=stacks, victims=[victim((LOOP, TEST), 0.3)]))
    profile = gprof2dot.CollapseParser(io.StringIO(text)).parse()
    totals = {
        function.name: function[gprof2dot.TOTAL_SAMPLES] for function in profile.functions.values()
    }
    assert profile[gprof2dot.SAMPLES] == 650_000
    assert totals == {
        "holders": 350_000,
        "victims": 300_000,
        "test_it": 600_000,
        "archive": 200_000,
        "zlib.compress": 200_000,
        "g.f_12": 100_000,
        "x,y_3": 100_000,
        "other": 50_000,
        "run": 300_000,
    }
    modules = {function.name: function.module for function in profile.functions.values()}
    assert modules["run"] == "svc/loop.py"
