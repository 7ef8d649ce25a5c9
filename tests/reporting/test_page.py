"""The page of --gil-export=html: what it says, and that nothing from outside can become markup."""

import base64
import json
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from support.gate_samples import BASELINE, ENTRY, changed
from support.scripted import (
    AUDITED,
    blamed,
    breach,
    disabled,
    locks,
    measured,
    raw,
    sampled,
    totals,
)
from support.traces import MAIN, trace

pytest.importorskip("jinja2", reason="the page needs Jinja2")

from pytest_gilknock.baseline.model import BaselineEntry
from pytest_gilknock.model.reading import GilReading
from pytest_gilknock.reporting.changes import ChangeRow, Changes
from pytest_gilknock.reporting.file_report import find
from pytest_gilknock.reporting.page import BATCH, page_text
from pytest_gilknock.reporting.page_of_baseline import page_of_baseline
from pytest_gilknock.reporting.page_of_results import page_of, sentence
from pytest_gilknock.reporting.results import Results
from pytest_gilknock.reporting.run_lines import caveats

WORST = "app/pool.py:31 burn"
NO_WAITS = dict.fromkeys(
    ("objects", "stop_the_world", "interpreter", "program", "unproven"), (0, 0.0, 0.0)
)
CALM = "No test kept a thread waiting for the GIL for a millisecond or more."
HOSTILE = "t.py::test[</script><img src=x onerror=alert(1)>'\"&\u2028]"


class Page(HTMLParser):
    """The elements of a page, and the texts of its scripts by id."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.scripts = {}
        self.inside = None
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id") if tag == "script" else None

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.scripts[self.inside] = self.scripts.get(self.inside, "") + data
        else:
            self.text += data

    @property
    def run(self):
        return json.loads(self.scripts["run"])

    def details(self, batch):
        packed = base64.b64decode(self.scripts[f"details-{batch}"])
        return json.loads(zlib.decompress(packed))


def results_of(*tests, run=None):
    results = Results(top=10, sort="wait", keep_all=True, root="/src")
    for name, record in tests:
        results.add(name, "failed" if "verdicts" in record else "passed", record)
    results.add_process(totals(run or raw()))
    return results


def page(*tests, run=None):
    return shown(results_of(*tests, run=run))


def shown(results):
    return Page("".join(page_text(page_of(results, [line.text for line in caveats(results)]))))


def test_the_rows_are_the_tests():
    one = page(("a.py::test_a", measured(raw())), ("b.py::test_b", breach(raw())))
    heads = [column["head"] for column in one.run["columns"]]
    rows = [dict(zip(heads, row, strict=True)) for row in one.run["rows"]]
    assert rows[0] == {
        "contention": 0.5,
        "wait": 0.25,
        "max wait": 0.0052,
        "threads": 2,
        "time": 1.0,
        "held by": "app/pool.py:31 burn",
        "test": "a.py::test_a",
    }
    assert one.run["flags"] == ["", "breach failed"]


def test_a_test_has_its_threads_stacks_and_verdicts():
    stack = (("/src/app/pool.py", 31, "burn", "zlib.compress"), ("/src/t.py", 3, "test", None))
    record = breach(raw(blame=[(stack, 12, "worker", 0.1, 25, 0.0, 0)]))
    (details,) = page(("t.py::test", record)).details(0)
    assert details["verdicts"] == [["max wait 5 ms", True]]
    assert details["threads"][0] == ["worker", 0.4, 0.05, 0.0041, 50, 25]
    frames = ["t.py:3 test", "app/pool.py:31 burn", "(zlib.compress)"]
    assert details["blame"] == [[frames, 0.1]]
    assert details["victims"] == [[["app/loop.py:7 run"], 0.2]]
    assert details["own"] == ["app/loop.py:7 run", "app/pool.py:31 burn", "t.py:3 test"]


def test_a_saved_run_has_the_same_details_of_a_test():
    saved = Page("".join(page_text(page_of_baseline(BASELINE)))).details(0)
    (details,) = page(("t.py::test", measured(raw()))).details(0)
    assert [one.keys() for one in saved] == [details.keys()] * len(BASELINE.tests)


@pytest.mark.parametrize(
    ("waits", "figure", "said"),
    [
        ([], "n/a", "No test was measured."),
        ([None], "n/a", "How long threads waited for the GIL was not measured."),
        ([0.2, 0.1], "300 ms", "2 tests kept threads waiting 300 ms."),
        (
            [0.2, 0.0, None],
            "200 ms in 2 of 3 tests",
            "1 test kept threads waiting 200 ms. In 1 more test the waits were not measured.",
        ),
        ([0.0, None], "0 s in 1 of 2 tests", f"{CALM} In 1 more test the waits were not measured."),
    ],
)
def test_a_saved_run_says_of_how_many_tests_its_wait_is(waits, figure, said):
    tests = {str(number): changed(ENTRY, wait=wait) for number, wait in enumerate(waits)}
    one = page_of_baseline(replace(BASELINE, tests=tests))
    assert (dict(one.figures)["wait"], one.sentence) == (figure, said)


def test_a_run_that_was_saved_without_a_gil_is_said_to_be():
    tests = {"t": changed(ENTRY, wait=0.0, method="disabled", blame="cache.py:15 get")}
    one = page_of_baseline(replace(BASELINE, tests=tests))
    assert one.title == "Waits without the GIL"
    assert one.sentence.startswith("No test kept a thread waiting for the interpreter")
    assert one.how == [
        "The GIL was off. Wait is the time threads waited for the interpreter, all together, max"
        " wait the longest single wait."
    ]
    (details,) = Page("".join(page_text(one))).details(0)
    assert details["longest"] == "Most to blame: cache.py:15 get"
    assert page_of_baseline(BASELINE).title == "GIL contention"


@pytest.mark.parametrize(
    ("reading", "threads"),
    [(raw(), 2), (sampled(50, 25), None), (disabled(), None), (disabled(locks=locks()), 2)],
)
def test_a_saved_run_has_the_threads_that_the_page_of_its_run_has(reading, threads):
    entry = BaselineEntry.from_reading(GilReading.from_raw(reading))
    (row,) = page_of_baseline(replace(BASELINE, tests={"t": entry})).rows
    run = page(("t", measured(reading))).run
    heads = [column["head"] for column in run["columns"]]
    of_run = run["rows"][0][heads.index("threads")]
    assert (row.threads, of_run) == (threads, threads)


def test_details_are_packed_in_batches():
    one = page(*((f"t.py::test_{number:03}", measured(raw())) for number in range(BATCH + 1)))
    assert [len(one.details(batch)) for batch in (0, 1)] == [BATCH, 1]


def test_names_from_outside_stay_text():
    blame = [blamed("</script><b>.py", 1, "</script><img src=x>", 12, "</script>", 0.1, 5)]
    one = page((HOSTILE, measured(raw(blame=blame))))
    tags = [tag for tag, _ in one.tags]
    assert "img" not in tags
    assert "b" not in tags
    assert one.run["rows"][0][0] == HOSTILE.replace("\u2028", "\\u2028")
    assert not [attrs for _, attrs in one.tags if any(name.startswith("on") for name in attrs)]


def test_the_page_loads_nothing():
    one = page(("t.py::test", measured(raw())))
    assert not [attrs for _, attrs in one.tags if {"src", "href"} & attrs.keys()]
    policies = [attrs["content"] for tag, attrs in one.tags if attrs.get("http-equiv")]
    assert policies[0].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("readings", "said"),
    [
        ([], "No test was measured."),
        ([raw(wait=0.0005)], CALM),
        ([raw(wait=0.2)], f"1 test kept threads waiting 200 ms; {WORST} did 50 % of it."),
        ([raw(), raw()], f"2 tests kept threads waiting 500 ms; {WORST} did 40 % of it."),
        ([raw(wait=9.0)], "1 test kept threads waiting 9.00 s."),
        ([raw(blame=[])], "1 test kept threads waiting 250 ms."),
        (
            [raw(blame=[blamed("/src/app/pool.py", 31, "burn", 12, "worker", 0.2, 2)])],
            "1 test kept threads waiting 250 ms.",
        ),
        ([disabled(), disabled()], "The GIL was off in all tests: no thread waits for it."),
        (
            [disabled(), disabled(locks=locks(kinds=NO_WAITS))],
            "The GIL was off in all tests, and none kept a thread waiting for a millisecond or"
            " more.",
        ),
        (
            [disabled(locks=locks()), disabled(locks=locks(kinds=NO_WAITS))],
            "The GIL was off in all tests; 1 test kept threads waiting 261 ms for what is there in"
            " its place, mostly for objects.",
        ),
        (
            [sampled(20, 9, 0.0051), sampled(20, 9, None)],
            "How long threads waited for the GIL was not measured; gilknock's own thread"
            " waited 5.10 ms at most.",
        ),
        (
            [raw(wait=0.0), sampled(20, 9), disabled()],
            f"{CALM} In 1 more test the waits were not measured.",
        ),
    ],
)
def test_the_run_in_a_sentence(readings, said):
    results = results_of(*((str(number), measured(one)) for number, one in enumerate(readings)))
    assert sentence(results.everything(), results.places, "/src") == said


def phases_of(*readings):
    phases = zip(("setup", "call", "teardown"), readings, strict=True)
    return [("t", measured(one, phase=phase)) for phase, one in phases]


@pytest.mark.parametrize(
    ("readings", "said"),
    [
        ([raw(), raw(), raw()], f"1 test kept threads waiting 750 ms; {WORST} did 40 % of it."),
        ([raw(wait=0.0007, blame=[])] * 3, "1 test kept threads waiting 2.10 ms."),
        ([raw(wait=0.0), sampled(20, 9), sampled(20, 9)], CALM),
        (
            [disabled(locks=locks()), disabled(), disabled(locks=locks())],
            "The GIL was off in all tests; 1 test kept threads waiting 522 ms for what is there in"
            " its place, mostly for objects.",
        ),
    ],
)
def test_the_phases_of_a_test_are_one_test_in_the_sentence(readings, said):
    results = results_of(*phases_of(*readings))
    assert sentence(results.everything(), results.places, "/src") == said


def test_the_hand_over_stands_below_the_holders():
    waited = raw(wait=0.2, hand_over=0.1, unlooked=0.0)
    assert page(("t", measured(waited))).run["holders"] == [
        {"place": WORST, "waited": 0.1, "tests": 1, "threads": "worker"},
        {"place": "(hand-over: nobody held it)", "waited": 0.1, "tests": 1, "threads": "no thread"},
    ]


def test_without_a_gil_the_page_says_so():
    one = page(("t", measured(disabled())), run=disabled())
    assert "The GIL was disabled" in one.text
    assert one.run["rows"][0][1:4] == [None, None, None]


@pytest.mark.parametrize("make", [raw, disabled])
def test_where_locks_are_measured_their_waits_have_a_column(make):
    one = page(("a", measured(make(locks=locks()))), ("b", measured(make())), run=make())
    heads = [column["head"] for column in one.run["columns"]]
    assert heads[2:6] == ["wait", "max wait", "lock wait", "threads"]
    assert [row[4] for row in one.run["rows"]] == [pytest.approx(0.701), None]
    without = page(("b", measured(make())), run=make())
    assert "lock wait" not in [column["head"] for column in without.run["columns"]]


def test_without_a_gil_the_page_explains_nothing_of_the_gil():
    waited = disabled(locks=locks())
    text = page(("t", measured(waited)), run=waited).text
    assert text.split()[:4] == ["Waits", "without", "the", "GIL"]
    assert "Not exact" not in text
    assert "Contention is the share" not in text
    assert "who let these go" in text


def test_without_a_gil_the_page_tells_what_was_waited_for_and_who_let_it_go():
    waited = disabled(locks=locks())
    one = page(("t", measured(waited)), run=waited)
    columns = {
        column["head"]: cell
        for column, cell in zip(one.run["columns"], one.run["rows"][0], strict=True)
    }
    assert columns["held by"] == "app/cache.py:15 get"
    assert columns["wait"] == pytest.approx(0.261)
    assert columns["threads"] == 2
    assert "wait261 ms" in one.text
    assert "mostly forobjects" in one.text
    (details,) = one.details(0)
    figures = dict(details["figures"])
    assert (figures["wait"], figures["mostly for"]) == ("261 ms", "objects (dict)")
    assert details["longest"] == (
        "MainThread waited 30.0 ms in app/cache.py:12 put, let go by app/cache.py:15 get in worker"
    )
    assert details["waited_for"] == "objects"
    assert details["blame"] == [[["app/cache.py:15 get"], 0.2]]
    assert details["victims"] == [[["app/cache.py:12 put"], 0.2]]
    assert details["locks"][0].startswith("objects: 200 ms in 40 waits")
    assert "  let go app/cache.py:15 get in worker: 200 ms" in details["locks"]


def test_with_a_gil_waits_for_locks_stand_beside_those_for_it():
    (details,) = page(("t", measured(raw(locks=locks())))).details(0)
    assert details["waited_for"] is None
    assert "locks of the program: 500 ms in 5 waits, the longest 200 ms" in details["locks"]
    (without,) = page(("t", measured(raw()))).details(0)
    assert without["locks"] == []


def test_the_format_is_found_and_says_what_it_lacks(monkeypatch):
    report = find("html")
    report.check()
    monkeypatch.setattr("pytest_gilknock.reporting.file_reports.html.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'pytest-gilknock\[html\]'"):
        report.check()


def test_tests_whose_threads_waited_have_a_timeline():
    results = results_of(("t", measured(raw())), ("calm", measured(raw(wait=0.0))))
    spans = [("t", "call", 1_000, 9_000), ("calm", "call", 9_000, 10_000)]
    events = [(1_000, 3_000, MAIN, 0), (9_000, 9_500, MAIN, 0)]
    results.add_process({**totals(raw()), "trace": trace(events, spans)})
    calm, waited = shown(results).details(0)
    assert calm["timeline"] is None
    assert waited["timeline"]["threads"] == [{"name": "MainThread", "slices": [0.0, 2.0, 1]}]


def test_phases_of_a_test_share_no_timeline_but_the_calls_own():
    results = results_of(("t", measured(raw(wait=9.0), phase="setup")), ("t", measured(raw())))
    events = [(1_000, 3_000, MAIN, 0)]
    process = trace(events, [("t", "call", 1_000, 9_000), ("t", "setup", 0, 1_000)])
    results.add_process({**totals(raw()), "trace": process})
    call, setup = shown(results).details(0)
    assert call["timeline"] is not None
    assert setup["timeline"] is None


def test_waits_by_their_length():
    quiet = raw(wait_histogram=[])
    tests = [("a", measured(raw())), ("b", measured(quiet)), ("c", measured(sampled(9, 3)))]
    assert [one["waits"] for one in page(*tests).details(0)] == [
        [[0.000512, 10], [0.004096, 40]],
        [],
        [],
    ]


def test_without_waiting_threads_the_knocks_tell_who_held_it():
    row = (((("/src/t.py", 3, "burn", None),)), 12, "worker", 0.0, 0, 0.3, 9)
    (details,) = page(("t", measured(raw(blame=[row], wait=0.0)))).details(0)
    assert details["by_knocks"] is True
    assert details["blame"] == [[["t.py:3 burn"], 0.3]]


def test_a_run_whose_processes_crashed_says_nothing_of_the_gil():
    results = Results(top=10, sort="wait", keep_all=True)
    results.crashed = 2
    one = shown(results)
    assert "2 processes crashed" in one.text
    assert "No test was measured." in one.text
    assert "methodn/a" in one.text
    assert "GILn/a" in one.text
    assert "The GIL was disabled" not in one.text
    assert "own thread held" not in one.text


def test_the_frames_of_pytest_around_a_test_are_one():
    site = "/env/lib/python3.13/site-packages"
    stack = (
        (f"{site}/_pytest/raises.py", 9, "raises", None),
        ("/src/t.py", 3, "test", None),
        (f"{site}/_pytest/python.py", 187, "pytest_pyfunc_call", None),
        (f"{site}/some_plugin.py", 2, "hook", None),
        (f"{site}/pluggy/_callers.py", 80, "_multicall", None),
        ("/src/conftest.py", 5, "pytest_runtest_call", None),
        (f"{site}/pluggy/_callers.py", 80, "_multicall", None),
        ("<frozen runpy>", 88, "_run_code", None),
    )
    row = (stack, 11, "MainThread", 0.1, 25, 0.0, 0)
    (details,) = page(("t", measured(raw(blame=[row])))).details(0)
    assert details["blame"][0][0] == [
        "(pytest)",
        "conftest.py:5 pytest_runtest_call",
        "site-packages/pluggy/_callers.py:80 _multicall",
        "site-packages/some_plugin.py:2 hook",
        "site-packages/_pytest/python.py:187 pytest_pyfunc_call",
        "t.py:3 test",
        "site-packages/_pytest/raises.py:9 raises",
    ]


def test_stalls_are_shown():
    results = results_of(("t", measured(raw())))
    stacks = 'Thread 0x1 (most recent call first):\n  File "/a/b.py", line 3 in </script>\x1b[2J\n'
    stall = ("t</script>", 1.5, "worker", 1, stacks)
    results.add_process({**totals(raw()), "stalls": [stall] * 30, "stalls_omitted": 0})
    stalls = shown(results).run["stalls"]
    assert len(stalls) == 20
    assert stalls[0]["test"] == "t</script>"
    assert stalls[0]["place"].startswith("/a/b.py:3 ")
    assert "\x1b" not in stalls[0]["stacks"]
    assert stalls[0]["stacks"].count("\n") == 1


def convoy(wait=0.5):
    """A thread that answers requests waits for one that computes."""
    return raw(
        wall=1.0,
        wait=wait,
        threads=[
            (11, "Main\u202eThread", 0.01, wait, 100, 100, 0.006),
            (12, "worker", 0.9, 0.0, 100, 0, 0.0),
        ],
    )


def test_audited_holds_are_listed():
    (details,) = (one := page(("t.py::test_a", measured(raw(**AUDITED))))).details(0)
    place = "app/native.py:5 call > zlib.crc32"
    assert one.run["audit"] == {
        "holds": [[place, 0.03, 4, 0.08, 1, "worker"]],
        "more": 0,
        "unseen": 0,
    }
    assert details["holds"] == [[place, 0.03, 4, 0.08, "worker"]]


def test_without_an_audit_nothing_is_said_of_holds():
    assert page(("t.py::test_a", measured(raw()))).run["audit"] is None


def test_rows_are_called_tests_unless_a_test_has_several():
    assert page(*(("a", measured(raw())), ("b", measured(raw())))).run["noun"] == "test"
    assert page(*phases_of(raw(), raw(), raw())).run["noun"] == "measured phase"


def test_a_convoy_is_named():
    one = page(*((f"t{number}", measured(convoy())) for number in range(5)))
    assert one.text.count("Convoy in t") == 3
    assert "2 more tests with a convoy." in one.text
    assert one.run["flags"] == ["convoy"] * 5
    assert one.details(0)[0]["convoy"].startswith("Main\\u202eThread waited 100 times")


def test_a_test_with_convoys_in_several_phases_is_one_more():
    others = [(f"t{number}", measured(convoy(wait=0.6))) for number in range(3)]
    phases = phases_of(convoy(), convoy(), convoy())
    one = page(*others, *phases)
    assert one.text.count("Convoy in t") == 3
    assert "1 more test with a convoy." in one.text
    assert "with a convoy." not in page(*phases, ("t", measured(convoy()))).text


def test_a_comparison_is_shown():
    results = results_of(("t", measured(raw())))
    number = (0.25, "250 ms")
    row = ChangeRow(HOSTILE, "worse", "wait", number, number, number, (1.0, "+100%"), "")
    results.changes = Changes(["1 test compared"], ["Warning: <b>"], [row], 7)
    one = shown(results)
    assert one.run["comparison"]["rows"][0][1:4] == ["worse", "wait", [0.25, "250 ms"]]
    assert one.run["comparison"]["left_out"] == 7
    assert page(("t", measured(raw()))).run["comparison"] is None
    assert "b" not in [tag for tag, _ in one.tags]
