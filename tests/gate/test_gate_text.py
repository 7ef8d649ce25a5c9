"""What a comparison looks like: terminal, Markdown, JSON, a failing test's text."""

import json
from dataclasses import replace

import pytest
from support.gate_samples import BASELINE, ENTRY, changed, reading
from support.scripted import blamed

from pytest_gilknock.baseline.model import BaselineEntry
from pytest_gilknock.gate.baseline_runs import BaselineRuns
from pytest_gilknock.gate.compare import compare_test
from pytest_gilknock.gate.comparison_json import as_json
from pytest_gilknock.gate.expression import parse_gates
from pytest_gilknock.gate.failure_text import breach_text, gil_text
from pytest_gilknock.gate.runs import Comparison, compare_runs, share_of_others
from pytest_gilknock.gate.table import as_markdown, needed_table, section
from pytest_gilknock.gate.text import busy_text
from pytest_gilknock.model.blame import blame_of
from pytest_gilknock.model.wire import Method
from pytest_gilknock.render.markdown import code, prose

AFTER = {
    "test_a.py::test_worst": changed(ENTRY, wait=2.0, max_wait=0.1),
    "test_a.py::test_better": changed(ENTRY, wait=0.0),
    "test_a.py::test_steady": ENTRY,
    "test_a.py::test_other_method": changed(ENTRY, method="sampled"),
    "test_a.py::test_new": ENTRY,
}
KNOWN = [*list(AFTER)[:-1], "test_a.py::test_gone"]


def comparison(
    after: dict[str, BaselineEntry] = AFTER,
    gates: tuple[str, ...] = ("wait:20ms&25%",),
    runs: int = 1,
) -> Comparison:
    before = replace(BASELINE, tests=dict.fromkeys(KNOWN, ENTRY))
    return compare_runs(
        BaselineRuns.of([(f"{number:04}_main.json", before) for number in range(1, runs + 1)]),
        after,
        parse_gates(gates),
        name="this run",
        caveats=["machine kind was A, is B"],
    )


def shown(compared: Comparison, *, width: int = 80, top: int = 10, everything: bool = False) -> str:
    lines = section(compared, width=width, top=top, everything=everything)
    return "\n".join(line.text for line in lines)


def test_without_a_saved_run_a_warning_says_so_and_no_line_of_counts() -> None:
    lines = shown(comparison(runs=0)).splitlines()
    assert lines[:2] == ["Gate: wait:20ms&25%", "Warning: machine kind was A, is B"]


def test_the_table_has_the_worst_first_and_says_what_is_not_in_it() -> None:
    assert shown(comparison()).splitlines() == [
        "   metric     before   after    change         test",
        "!  wait       250 ms  2.00 s   +1.75 s  +700%  test_a.py::test_worst",
        "+  max_wait  5.00 ms  100 ms  +95.0 ms    20x  test_a.py::test_worst",
        "-  wait       250 ms     0 s   -250 ms  -100%  test_a.py::test_better",
        "3 tests of this run compared with 0001_main.json: 1 over the gate, 1 better, 1 steady",
        "Gate: wait:20ms&25%",
        "Growth that fails a test: wait 62.5 ms",
        "New, without a baseline: 1 test (test_a.py::test_new)",
        "In the baseline, but did not run, pass or get measured: 1 test (test_a.py::test_gone)",
        "Warning: machine kind was A, is B",
        "Warning: what other programs use of the processors is not known here: a busy machine may"
        " put a test over its gate",
        "Warning: contention of 1 test not compared: exact before, sampled now",
        "Warning: max_wait of 1 test not compared: exact before, sampled now",
        "Warning: wait of 1 test not judged by the gate: exact before, sampled now",
    ]


@pytest.mark.parametrize(
    ("used", "wall", "method", "gates", "unknown"),
    [
        (None, 1.0, "exact", ("wait:20ms",), True),
        (0.5, 1.0, "exact", ("wait:20ms",), False),
        (None, 0.1, "exact", ("wait:20ms",), False),  # too short to tell
        (None, 1.0, "disabled", ("wait:20ms",), True),
        (None, 1.0, "exact", (), False),
    ],
)
def test_where_others_are_not_known_the_comparison_says_so(
    used: float | None, wall: float, method: Method, gates: tuple[str, ...], unknown: bool
) -> None:
    entry = replace(changed(ENTRY, method=method), used=used, wall=wall)
    compared = comparison({"test_a.py::test_steady": entry}, gates)
    assert ("what other programs use of the processors is not known" in shown(compared)) == unknown


def test_steady_rows_are_there_when_everything_is_wanted() -> None:
    assert "test_steady" not in shown(comparison())
    rows = [line.split() for line in shown(comparison(), everything=True).splitlines()]
    assert ["=", "wait", "250", "ms", "250", "ms", "+0", "s", "test_a.py::test_steady"] in rows


def test_the_limit_of_rows_hides_no_breach() -> None:
    after = {nodeid: changed(ENTRY, wait=2.0 + at) for at, nodeid in enumerate(KNOWN)}
    text = shown(comparison(after), top=1)
    assert text.count("!  wait") == len(KNOWN)
    assert "left out" not in text
    assert "(2 more rows left out. Use --gil-top=0 to show all.)" in shown(comparison(), top=1)


def test_nothing_to_compare_is_said() -> None:
    assert "0 tests of this run compared with 0001_main.json: nothing" in shown(comparison({}))


@pytest.mark.parametrize("width", [1, 80, 200])
def test_a_long_id_is_shortened_to_the_width_and_keeps_its_end(width: int) -> None:
    nodeid = "tests/" + "very_" * 40 + "long.py::test_it"
    before = BaselineRuns.of([("b", replace(BASELINE, tests={nodeid: ENTRY}))])
    compared = compare_runs(before, {nodeid: changed(ENTRY, wait=9.0)}, (), name="now")
    row = shown(compared, width=width).splitlines()[1]
    assert row.endswith("long.py::test_it")
    assert len(row) <= max(width, 80)


def hostile(nodeid: str) -> Comparison:
    before = BaselineRuns.of(
        [("b\n.json", replace(BASELINE, tests={nodeid: ENTRY, nodeid + "g": ENTRY}))]
    )
    after = {nodeid: changed(ENTRY, wait=9.0), nodeid + "n": ENTRY}
    return compare_runs(before, after, parse_gates(["wait:1ms"]), name="now\x1b[2J")


HOSTILE = "t[\x1b[31m\r\n| `a` ``b`` <script> \\| \u202e ::error::]"


def test_no_control_character_of_an_id_reaches_the_terminal() -> None:
    assert all(line.isprintable() for line in shown(hostile(HOSTILE)).splitlines())
    assert all(line.isprintable() for line in as_markdown(hostile(HOSTILE)).splitlines())


def test_a_markdown_row_stays_one_row_whatever_the_id() -> None:
    (row,) = [line for line in as_markdown(hostile(HOSTILE)).splitlines() if "**!**" in line]
    cells = row.replace("\\|", "").strip("|").split("|")
    assert len(cells) == 7
    assert cells[-1].strip().startswith("```t[")


@pytest.mark.parametrize(
    ("words", "span"),
    [
        ("plain", "`plain`"),
        ("a`b", "``a`b``"),
        ("`a``b", "``` `a``b ```"),
        ("a|b", "`a\\|b`"),
        ("a\\|b", "`a\\ \\|b`"),
        ("", "`  `"),
    ],
)
def test_a_code_span_holds_what_is_in_it(words: str, span: str) -> None:
    assert code(words) == span


def test_prose_is_shown_as_it_is() -> None:
    assert prose("a_b *c* <d> `e` [f]") == r"a\_b \*c\* \<d\> \`e\` \[f\]"


def test_markdown_has_the_table_the_verdict_and_the_warnings() -> None:
    text = as_markdown(comparison())
    assert text.startswith("### GIL contention compared with `0001_main.json`\n")
    assert "| **!** | wait | 250 ms | 2.00 s | +1.75 s | +700% | `test_a.py::test_worst` |" in text
    assert "1 over the gate, 1 better, 1 steady" in text
    assert "Warning: machine kind was A, is B" in text


def test_a_comparison_of_a_run_without_the_gil_is_headed_by_what_was_measured() -> None:
    off = dict.fromkeys(KNOWN, changed(ENTRY, method="disabled"))
    head, *_ = as_markdown(comparison(off)).splitlines()
    assert head == "### Waits without the GIL compared with `0001_main.json`"
    head, *_ = as_markdown(comparison({**off, KNOWN[0]: ENTRY})).splitlines()
    assert head == "### GIL contention compared with `0001_main.json`"
    head, *_ = as_markdown(comparison({})).splitlines()
    assert head == "### GIL contention compared with `0001_main.json`"


def test_markdown_of_many_rows_stays_short() -> None:
    after = {f"t{number}": changed(ENTRY, wait=9.0) for number in range(60)}
    before = BaselineRuns.of([("b", replace(BASELINE, tests=dict.fromkeys(after, ENTRY)))])
    text = as_markdown(compare_runs(before, after, (), name="now"))
    assert text.count("| `t") == 50
    assert "10 more rows left out." in text


@pytest.mark.parametrize(
    ("waits", "warned"),
    [
        ([0.20, 0.21, 0.22], False),
        ([0.20, 0.21, 0.40], False),  # twice the usual is worse than the worst
        ([0.20, 0.21, 0.45], True),
        ([0.20, 0.30, 0.40], True),  # 3.5 times sigma is more than it
        ([0.01, 0.02, 0.03], False),  # the gate's own 50 ms allow as much
        ([0.20, 0.40], False),
        ([0.20], False),
    ],
)
def test_saved_runs_that_hide_a_wait_twice_as_long_are_named(
    waits: list[float], warned: bool
) -> None:
    runs = [
        (
            f"{number}_main.json",
            replace(BASELINE, tests={"test_a.py::t": changed(ENTRY, wait=wait)}),
        )
        for number, wait in enumerate(waits)
    ]
    after = {"test_a.py::t": changed(ENTRY, wait=waits[0])}
    gates = parse_gates(["wait:50ms&25%", "contention:0.25"])
    text = shown(compare_runs(BaselineRuns.of(runs), after, gates, name="this run"))
    warning = "Warning: wait of test_a.py::t may double and pass: it was "
    assert (warning in text) == warned
    assert text.count("may double") == int(warned)


@pytest.mark.parametrize(
    ("lost", "share"), [(None, None), (0.0, 0.0), (0.25, 0.2), (1.0, 0.5), (9.0, 0.9)]
)
def test_a_saved_run_says_what_others_had_of_it(lost: float | None, share: float | None) -> None:
    entry = replace(ENTRY, used=None if lost is None else 1.0, lost=lost)
    short = replace(ENTRY, wall=0.1, used=1.0, lost=100.0)
    assert share_of_others([entry, short]) == share
    if share:
        assert f"had {100 * share:.0f}% of the processor time" in busy_text(share)


def test_json_has_everything_in_plain_numbers() -> None:
    document = json.loads(
        as_json(comparison(gates=("wait:0ms",), runs=2)), parse_constant=pytest.fail
    )
    assert document["kind"] == "pytest-gilknock comparison"
    assert document["breached"] is True
    assert document["changes"][0] == {
        "nodeid": "test_a.py::test_worst",
        "metric": "wait",
        "verdict": "over the gate",
        "before": 0.25,
        "after": 2.0,
        "difference": 1.75,
        "spread": {
            "best": 0.25,
            "worst": 0.25,
            "runs": 2,
            "usual": 0.25,
            "measured": 0.25,
            "noise": 0.0,
        },
        "gate": "wait:0s",
        "extent": 1750.0,
        "needed": 0.0,
        "allowed_by_gate": 0.0,
        "needs_more_for": [],
        "doubt": None,
        "blame": None,
    }
    assert document["new"] == ["test_a.py::test_new"]
    assert {one["reason"] for one in document["unjudged"]} == {"exact before, sampled now"}


def test_the_text_of_a_failing_test_needs_no_manual() -> None:
    before = [ENTRY, changed(ENTRY, wait=0.001)]
    changes, _ = compare_test(
        "test_a.py::t",
        before,
        changed(ENTRY, wait=2.0),
        parse_gates(["wait:20ms&25%", "contention:0.1"]),
    )
    blame = blame_of([blamed("a.py", 3, "f", 1, "worker", 0.1, 5)], {})
    text = breach_text(
        [change for change in changes if change.breached],
        ["0001_main.json", "0002_main.json"],
        reading(blame=blame),
    )
    assert text.splitlines() == [
        "GIL contention regression: wait 2.00 s, was 250 ms (+1.75 s, +700%)",
        "  allowed     +62.5 ms, set by --gil-compare-fail=wait:20ms&25%",
        "  before      250 ms, the worse of 2 from 1.00 ms to 250 ms"
        " (0001_main.json, 0002_main.json)",
        "  contention  0.333 (the GIL was held 1.00 s of 3.00 s)",
        "  wait        123 ms over all threads; longest single wait 5.00 ms",
        "  blame       where the GIL was held while others waited:",
        "              a.py:3 f in worker: threads waited 100 ms (5 looks)",
        "              (123 ms, 100%, passed while the GIL was free and the next thread woke up)",
    ]


def test_a_gate_of_the_ini_file_is_said_to_be_there() -> None:
    changes, _ = compare_test("t", [ENTRY], changed(ENTRY, wait=2.0), parse_gates(["wait:20ms"]))
    breached = [change for change in changes if change.breached]
    text = breach_text(breached, ["b"], reading(), set_by="ini key gil_compare_fail")
    assert "+20.0 ms, set by ini key gil_compare_fail: wait:20ms\n" in text


def test_each_gated_test_has_the_growth_it_needs_to_fail() -> None:
    busy = replace(changed(ENTRY, wait=0.3), used=0.75, lost=0.25)
    compared = comparison(
        {"test_a.py::test_worst": busy, "test_a.py::test_better": ENTRY},
        gates=("wait:20ms", "contention:0.1"),
    )
    more = "more than the gate allows in 1 of 2 tests, because of others on the machine"
    assert (
        f"Growth that fails a test: contention 0.100 to 0.227 ({more}),"
        f" wait 20.0 ms to 230 ms ({more})\n" in shown(compared)
    )
    assert [line.text for line in needed_table(compared)] == [
        "",
        "What each gated test needs to fail:",
        "metric      before      gate   to fail  because of             test",
        "contention   0.500    +0.100    +0.100                         test_a.py::test_better",
        "contention   0.500    +0.100    +0.227  others on the machine  test_a.py::test_worst",
        "wait        250 ms  +20.0 ms  +20.0 ms                         test_a.py::test_better",
        "wait        250 ms  +20.0 ms   +230 ms  others on the machine  test_a.py::test_worst",
    ]
    assert needed_table(comparison(gates=())) == []


def grown(before: list[BaselineEntry], after: BaselineEntry, gate: str) -> Comparison:
    runs = [(f"{at}.json", replace(BASELINE, tests={"t": one})) for at, one in enumerate(before)]
    return compare_runs(BaselineRuns.of(runs), {"t": after}, parse_gates([gate]), name="this run")


SAMPLED = changed(ENTRY, method="sampled", contention=0.5)
NOISE = "noise in the saved runs"


@pytest.mark.parametrize(
    ("before", "after", "gate", "words"),
    [
        ([0.25], {}, "wait:50ms", "wait 50.0 ms"),
        ([0.25], {}, "wait:40%", "wait 100 ms"),
        ([0.25, 0.1633], {}, "wait:50ms", "wait 50.0 ms"),
        (
            [0.25, 0.25, 0.3368],
            {},
            "wait:50ms",
            f"wait 86.8 ms (more than the gate's 50.0 ms, because of {NOISE})",
        ),
        (
            [0.20, 0.25, 0.26],
            {},
            "wait:50ms",
            f"wait 77.6 ms (more than the gate's 50.0 ms, because of {NOISE})",
        ),
        (
            [0.20, 0.25, 0.26],
            {"used": 0.75, "lost": 0.25},
            "wait:50ms",
            "wait 332 ms (more than the gate's 50.0 ms, because of"
            f" {NOISE} and others on the machine)",
        ),
    ],
)
def test_growth_beyond_the_gate_has_its_cause(
    before: list[float], after: dict[str, float], gate: str, words: str
) -> None:
    runs = [replace(changed(ENTRY, wait=wait), used=1.0) for wait in before]
    compared = grown(runs, replace(ENTRY, **after), gate)
    assert f"Growth that fails a test: {words}\n" in shown(compared) + "\n"


def test_a_short_test_and_few_knocks_are_causes_as_well() -> None:
    short = grown([ENTRY], replace(ENTRY, wall=0.02), "contention:0.1")
    assert "contention 0.250 (more than the gate's 0.100, because of a short test)" in shown(short)
    few = grown([SAMPLED], replace(SAMPLED, knocks=50, knocks_waited=25), "contention:0.1")
    assert "(more than the gate's 0.100, because of few knocks)" in shown(few)


def test_what_a_failing_test_is_allowed_beyond_its_gate_has_its_cause() -> None:
    before = [changed(ENTRY, wait=wait) for wait in (0.25, 0.25, 0.3368)]
    changes, _ = compare_test("t", before, changed(ENTRY, wait=2.0), parse_gates(["wait:50ms"]))
    text = breach_text([one for one in changes if one.breached], ["b"], reading())
    assert (
        "  allowed     +86.8 ms, for noise in the saved runs more than the +50.0 ms set by"
        " --gil-compare-fail=wait:50ms\n" in text
    )


def test_what_no_contention_can_exceed_is_said_to_fail_no_test() -> None:
    held_always = changed(ENTRY, contention=1.0)
    tests = {"test_a.py::test_worst": held_always, "test_a.py::test_better": held_always}
    compared = compare_runs(
        BaselineRuns.of([("b", replace(BASELINE, tests=tests))]),
        tests,
        parse_gates(["contention:0.1", "wait:20ms"]),
        name="this run",
    )
    assert "test: contention (2 tests cannot fail by it), wait 20.0 ms" in shown(compared)
    rows = [line.text for line in needed_table(compared)]
    assert rows[3] == "contention   1.000    +0.100    cannot  test_a.py::test_better"


def test_a_change_from_zero_has_no_percentage() -> None:
    (change, *_), _ = compare_test(
        "t", [changed(ENTRY, contention=0.0)], changed(ENTRY, contention=0.4), ()
    )
    text = breach_text([change], ["b.json"], reading())
    assert "contention 0.400, was 0.000 (+0.400, from 0)" in text


def test_what_is_due_to_others_is_told_where_it_matters() -> None:
    before = [changed(ENTRY, wait=0.0)]
    for lost, words in (
        (0.25, "allowed     +20.0 ms, without the +175 ms that others may have caused, set by"),
        (1e-4, "allowed     +20.0 ms, set by"),
    ):
        after = replace(changed(ENTRY, wait=0.4), used=0.75, lost=lost)
        changes, _ = compare_test("t", before, after, parse_gates(["wait:20ms"]))
        assert words in breach_text([one for one in changes if one.breached], ["b"], reading())


BUSY_ENTRY = replace(
    changed(ENTRY, wait=0.5), used=0.2, others=1.8, lost=0.8, processors=2.0, blame="a|b.py:3 f"
)


def test_what_is_not_surely_over_the_gate_is_marked_and_its_cause_told() -> None:
    text = shown(comparison({"test_a.py::test_worst": BUSY_ENTRY}))
    assert text.splitlines()[1].startswith("?  wait")
    assert "compared with 0001_main.json: 1 inconclusive" in text
    assert (
        "Warning: wait 500 ms of test_a.py::test_worst is over the gate, but not surely:"
        " other programs used 1.8 of 2 processors" in text
    )


def test_of_many_that_are_not_surely_over_the_gate_three_are_named() -> None:
    names = [f"test_a.py::t{number}" for number in range(5)]
    runs = BaselineRuns.of([("b", replace(BASELINE, tests=dict.fromkeys(names, ENTRY)))])
    after = dict.fromkeys(names, BUSY_ENTRY)
    text = shown(compare_runs(runs, after, parse_gates(["wait:20ms"]), name="this run"))
    assert text.count("is over the gate, but not surely: other") == 3
    assert "Warning: 2 more changes over the gate, but not surely" in text


def test_the_first_line_of_a_failure_has_the_number_and_fits_80_columns() -> None:
    after = changed(ENTRY, wait=2345.6, max_wait=1234.5, contended=123456, contention=1.0)
    before = [changed(ENTRY, wait=0.00123, max_wait=0.0123, contended=17, contention=0.0123)]
    gates = parse_gates(["wait:1ms", "max_wait:1ms", "contended:1", "contention:0.1"])
    changes, _ = compare_test("t", before, after, gates)
    lines = breach_text(changes, ["b"], reading()).splitlines()
    firsts = [line for line in lines if line.startswith("GIL contention regression")]
    assert len(firsts) == 4
    assert max(map(len, firsts)) <= 80


def test_the_page_names_the_blamed_place_and_explains_its_signs() -> None:
    page = as_markdown(comparison({"test_a.py::test_worst": BUSY_ENTRY}))
    assert "| blame | test |" in page
    assert "`a\\|b.py:3 f`" in page
    assert "\\! over the gate, ? over it but not surely, + worse, - better" in page


def test_of_many_runs_the_first_and_the_last_are_named() -> None:
    assert "compared with 4 runs from 0001_main.json to 0004_main.json: 1" in shown(
        comparison(runs=4)
    )


def test_the_name_of_a_module_that_turns_the_gil_on_is_escaped() -> None:
    assert gil_text(None) == "GIL contention regression: enabled, was disabled"
    text = gil_text("needs\x1b[2J")
    assert text == "GIL contention regression: enabled, was disabled, turned on by needs\\x1b[2J"
