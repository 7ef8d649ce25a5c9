"""The baseline as data: what of a reading is kept, how two runs are put together."""

from dataclasses import replace

import pytest
from support.gate_samples import BASELINE, ENTRY, INTERPRETER, MACHINE, changed, reading
from support.scripted import disabled, locks

from pytest_gilknock.baseline.model import (
    Baseline,
    BaselineEntry,
    BaselineError,
    differences,
    merged,
)
from pytest_gilknock.model.reading import GilReading


def test_an_entry_keeps_a_reading_rounded_to_microseconds_and_four_digits_of_a_share() -> None:
    entry = BaselineEntry.from_reading(reading())
    metrics = {"contention": 0.3333, "wait": 0.123457, "max_wait": 0.005, "contended": 7}
    assert metrics.items() <= entry.metrics.items()
    assert entry == BaselineEntry(
        method="exact",
        metrics=entry.metrics,
        held=1.000001,
        wall=3.0,
        knocks=150,
        knocks_waited=40,
        threads=0,
        run_delay=None,
    )


def test_what_a_sampled_reading_did_not_measure_stays_unmeasured() -> None:
    entry = BaselineEntry.from_reading(
        reading(method="sampled", held=None, wait=None, contended=None, knocks=3, knocks_waited=1)
    )
    assert (entry.metrics["wait"], entry.metrics["contended"], entry.held) == (None, None, None)
    assert entry.metrics["contention"] == 0.3333


def test_without_a_gil_the_threads_are_those_that_waited_for_what_is_in_its_place() -> None:
    off = GilReading.from_raw(disabled(locks=locks()))
    assert BaselineEntry.from_reading(off).threads == 2


@pytest.mark.parametrize("field", ["kind", "arch"])
def test_what_a_file_says_of_its_machine_moves_no_cursor_and_begins_no_line(field: str) -> None:
    forged = replace(BASELINE, machine=replace(MACHINE, **{field: "x\n::error file=a\x1b[2J"}))
    for before, now in (forged, BASELINE), (BASELINE, forged):
        (line,) = differences(before, now)
        assert line.isprintable()
        assert r"x\n::error file=a\x1b[2J" in line


def test_a_partial_run_keeps_the_entries_of_the_tests_it_did_not_measure() -> None:
    better = changed(ENTRY, wait=0.0)
    partial = replace(
        BASELINE, created="2025-02-01T00:00:00Z", tests={"test_a.py::test_two": better}
    )
    both = merged(BASELINE, partial)
    assert both.tests == {"test_a.py::test_one": ENTRY, "test_a.py::test_two": better}
    assert both.created == "2025-02-01T00:00:00Z"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (replace(BASELINE, machine=replace(MACHINE, kind="Linux-CPython-3.12-64bit")), "3.12"),
        (replace(BASELINE, machine=replace(MACHINE, arch="aarch64")), "aarch64"),
        (replace(BASELINE, machine=replace(MACHINE, cpus=64)), "64"),
        (replace(BASELINE, interpreter=replace(INTERPRETER, gil_enabled=False)), "GIL was on"),
        (replace(BASELINE, interpreter=replace(INTERPRETER, switch_interval=0.1)), "0.1 s"),
    ],
)
def test_entries_of_other_conditions_do_not_mix(changed: Baseline, named: str) -> None:
    partial = replace(changed, tests={"test_a.py::test_two": ENTRY})
    with pytest.raises(BaselineError, match="cannot stand beside them") as error:
        merged(BASELINE, partial)
    assert named in str(error.value)
    assert merged(BASELINE, changed) is changed, "a run of every test leaves nothing to mix"


def test_conditions_that_the_numbers_do_not_depend_on_are_no_difference() -> None:
    patch_release = replace(
        BASELINE,
        machine=replace(MACHINE, release="6.9.1"),
        interpreter=replace(INTERPRETER, version="3.13.1"),
        commit=None,
    )
    assert differences(BASELINE, patch_release) == []


def test_the_methods_of_a_baseline_are_those_of_its_entries() -> None:
    mixed = replace(BASELINE, tests={"a": ENTRY, "b": changed(ENTRY, method="sampled")})
    assert mixed.methods == ("exact", "sampled")
