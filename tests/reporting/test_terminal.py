import re

import pytest
from support.scripted import (
    AUDITED,
    blamed,
    breach,
    disabled,
    lock_place,
    locks,
    measured,
    raw,
    sampled,
    totals,
)

from pytest_gilknock.model.locks import LOCK_KINDS
from pytest_gilknock.render.format import display_width
from pytest_gilknock.render.lines import Line
from pytest_gilknock.reporting import terminal
from pytest_gilknock.reporting.results import Results
from pytest_gilknock.reporting.run_lines import BUSY_ALONE
from pytest_gilknock.reporting.terminal import section

NO_LOCKS = dict.fromkeys((*LOCK_KINDS, "unproven"), (0, 0.0, 0.0))
LONG = "tests/integration/test_server.py::TestServer::test_many_clients[asyncio-128]"


def results_of(*tests: tuple[str, dict], run=None, **options) -> Results:
    results = Results(**{"top": 10, "sort": "wait", **options})
    for name, what in tests:
        results.add(name, "passed", what)
    results.add_process(totals(run or raw()))
    return results


def texts(results: Results, *, width: int = 80, verbosity: int = 0) -> list[str]:
    return [line.text for line in section(results, width=width, verbosity=verbosity)]


def test_a_test_with_convoys_in_several_phases_is_one_more():
    threads = [(11, "server", 0.01, 0.5, 100, 100, 0.006), (12, "hog", 0.9, 0.0, 100, 0, 0.0)]
    convoy = raw(wall=1.0, wait=0.5, threads=threads)
    waits_longer = raw(
        wall=1.0, wait=0.6, threads=[(11, "s", 0.01, 0.6, 100, 100, 0.006), threads[1]]
    )
    phases = [("t", measured(convoy, phase=phase)) for phase in ("setup", "call", "teardown")]
    others = [(f"t{number}", measured(waits_longer)) for number in range(3)]
    assert "(1 more test with a convoy)" in texts(results_of(*others, *phases))
    assert not [line for line in texts(results_of(*phases, phases[0])) if "more test" in line]


def test_a_table_of_80_columns():
    results = results_of(
        (LONG, measured(raw(wait=12.44, max_wait=0.0482, held=0.998))),
        ("test_b.py::test_io", measured(raw(wait=0.0021, blame=[]))),
        ("test_c.py::test_calm", measured(raw(wait=0.0))),
    )
    assert texts(results) == [
        "contention     wait  max wait  threads  test",
        "     0.998   12.4 s   48.2 ms        2  ...erver::test_many_clients[asyncio-128]",
        "        held by /src/app/pool.py:31 burn in worker (1 %)",
        "     0.500  2.10 ms   5.20 ms        2  test_b.py::test_io",
        "(1 test below 1 ms wait hidden. Use -vv to show.)",
        "  wait  share  tests  held by, over all tests   thread",
        "200 ms    2 %      2  /src/app/pool.py:31 burn  worker",
        "420 ms    3 %      3  (nobody looked)           -",
        "  wait  share  tests  waited in, over all tests  thread",
        "600 ms    5 %      3  /src/app/loop.py:7 run     MainThread",
        "Whole run: contention 0.500, wait 250 ms in 1.00 s",
        "3 tests measured, method exact, GIL enabled",
        "Measuring took 21.0 ms, and gilknock's own thread held the GIL for 1.20 ms",
    ]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_lines_fit_the_terminal(width):
    deep = [blamed("/src/" + "x" * 60 + ".py", 12345, "f" * 60, 12, "worker", 0.1, 25)]
    threads = [(12, "w" * 70, 0.4, 0.05, 50, 25, 0.0041)]
    stack = deep[0][0]
    longest = (0.0999, 0.2, False, 11, "v" * 70, stack, stack, 12, "w" * 70)
    results = results_of(
        (LONG * 2, breach(raw(blame=deep, threads=threads, longest_wait=longest))),
        ("b", measured(raw(blame=deep, wait=0.3))),
    )
    for verbosity in (-1, 0, 1):
        for line in texts(results, width=width, verbosity=verbosity):
            assert len(line) <= width or line.startswith("Whole run")


@pytest.mark.parametrize("width", [80, 120])
def test_names_in_wide_characters_fit_the_terminal(width):
    stack = (("/src/" + "語" * 40 + ".py", 12345, "関数" * 20, None),)
    thread = "スレッド" * 3
    waited = [(stack, 12, thread, 0.2, 0.005, 25)]
    audited = {"max_hold": 0.03, "holds": [(stack, 12, thread, 0.08, 0.03, 4)]}
    of_locks = locks(threads=[], victims={"objects": waited}, blame={"objects": waited})
    longest = (0.0999, 0.2, False, 11, thread * 3, stack, stack, 12, thread * 3)
    seen = raw(
        blame=[(stack, 12, thread, 0.1, 25, 0.0, 0)],
        victims=waited,
        longest_wait=longest,
        **audited,
    )
    results = results_of(
        (f"t.py::test[{'値' * 60}]", measured({**seen, "locks": of_locks})),
        ("u", measured(disabled(locks=of_locks))),
    )
    for verbosity in (0, 1):
        lines = section(results, width=width, verbosity=verbosity, audit=True)
        too_wide = [line.text for line in lines if display_width(line.text) > width]
        assert [line for line in too_wide if not line.startswith(("Whole run", "Audit:"))] == []


def test_a_wide_terminal_shows_whole_ids_and_the_blame_beside_them():
    results = results_of((LONG, measured(raw())))
    head, row, *_ = texts(results, width=160)
    assert head.split()[-2:] == ["blame", "test"]
    assert row.endswith(f"  /src/app/pool.py:31 burn  {LONG}")


def test_the_blame_below_a_row_shortens_its_threads_before_its_place():
    deep = [blamed("/src/app/parsing/store.py", 123, "parse", 7, "T" * 60, 0.2, 25)]
    row = texts(results_of((LONG, measured(raw(blame=deep)))))[2]
    assert row.startswith("        held by /src/app/parsing/store.py:123 parse in TTTT")
    assert row.endswith("... (80 %)")
    assert len(row) == 80


def test_the_limit_has_a_column_only_where_there_is_one():
    without = results_of(("a", measured(raw())))
    assert "limit" not in texts(without)[0]
    both = [("contention", 0.75, "x"), ("max_wait", 0.02, "y")]
    with_limit = results_of(("a", measured(raw(), limits=both)), ("b", measured(raw())))
    head, first, second, *_ = texts(with_limit, width=120)
    assert "limit" in head
    assert "0.75, 20 ms" in first
    assert "  -  " in second


def test_a_breach_is_red_and_nothing_else():
    results = results_of(("a", measured(raw(wait=0.9))), ("b", breach(raw())))
    lines = section(results, width=80, verbosity=0)
    assert [line.text.split()[-1] for line in lines if line.red] == ["b"]


def test_quiet_shows_breaches_one_line_and_how_to_see_more():
    results = results_of(("a", measured(raw(wait=0.9))), ("b", breach(raw())))
    head, row, sums, hidden = texts(results, verbosity=-1)
    assert head.startswith("contention")
    assert row.endswith("b")
    assert sums == (
        "Whole run: contention 0.500, wait 250 ms in 1.00 s;"
        " 2 tests measured, method exact, GIL enabled"
    )
    assert hidden == "(The table is hidden by -q. Add -v to show it.)"
    assert texts(results, verbosity=-2)[-1] == "(The table is hidden by -qq. Add -vv to show it.)"


@pytest.mark.parametrize(
    ("tests", "told"),
    [
        (
            [("a", measured(raw()))],
            "The table and the audit are hidden by -q. Add -v to show them.",
        ),
        ([("a", breach(raw()))], "The audit is hidden by -q. Add -v to show it."),
    ],
)
def test_quiet_says_how_to_see_the_audit(tests, told):
    lines = section(results_of(*tests), width=80, verbosity=-1, audit=True)
    assert lines[-1].text == f"({told})"


def test_quiet_hides_nothing_where_all_is_shown():
    assert "hidden" not in texts(results_of(("b", breach(raw()))), verbosity=-1)[-1]


def test_verbose_shows_threads_and_blame_of_each_row():
    lines = texts(results_of(("a", measured(raw()))), width=120, verbosity=1)
    assert lines[2:5] == [
        "    thread worker: held 400 ms, waited 50.0 ms",
        "    thread MainThread: held 100 ms, waited 200 ms",
        "    blame /src/app/pool.py:31 burn in worker: threads waited 100 ms (25 looks)",
    ]


def test_names_from_outside_break_no_markdown():
    limit = ("max_wait", 0.02, "x", "a|b*_c\\", None)
    waits = disabled(locks=locks(types=[("A|B<b>", (40, 0.2, 0.03))]))
    tests = [("a|b", measured(raw(), limits=[limit])), ("c", measured(waits))]
    heads, _, *rows = terminal.as_markdown(results_of(*tests)).splitlines()[2:6]
    columns = re.findall(r"[^|]+", heads)
    cells = [re.findall(r"((?:\\.|[^|\\])+)", row) for row in rows]
    assert [len(row) for row in cells] == [len(columns)] * 2
    at = {head.strip(): place for place, head in enumerate(columns)}
    first, second = sorted(cells, key=lambda row: row[-1])
    assert first[at["limit"]].strip() == r"20 ms@a\|b\*\_c\\"
    assert second[at["mostly for"]].strip() == r"objects (A\|B\<b\>)"


def test_a_test_with_several_measured_phases_is_one_test():
    limit = ("contention", 0.3, "marker")
    unjudged = [(limit, False, "nobody asked for it")]
    results = results_of(
        ("a", measured(raw(), phase="setup", limits=[limit], verdicts=unjudged)),
        ("a", measured(raw(wait=0.0), limits=[limit], verdicts=unjudged)),
        ("b", measured(raw(wait=0.0), phase="setup")),
        ("b", measured(raw(wait=0.0))),
        run=raw(),
    )
    results.add_short("b")
    lines = texts(results)
    assert "2 tests measured, method exact, GIL enabled" in lines
    assert "(1 test below 1 ms wait hidden. Use -vv to show.)" in lines
    assert any(line.startswith("Limits of 1 test could not be judged") for line in lines)


def test_rows_left_out_are_counted():
    tests = [(str(number), measured(raw())) for number in range(13)]
    lines = texts(results_of(*tests, top=10))
    assert "(3 more rows left out. Use --gil-top=0 to show all.)" in lines


@pytest.mark.parametrize(
    ("sort", "hidden"),
    [
        ("wait", "wait"),
        ("max_wait", "max wait"),
        ("held", "held"),
        ("contention", "held"),
        ("lock_wait", "lock wait"),
    ],
)
def test_what_is_hidden_is_told_in_the_words_of_the_order(sort, hidden):
    small = raw(wait=0.0, max_wait=0.0, held=0.0, locks=locks(kinds=NO_LOCKS))
    assert f"(1 test below 1 ms {hidden} hidden. Use -vv to show.)" in texts(
        results_of(("a", measured(small)), run=small, sort=sort)
    )


def test_sampled_numbers_that_were_not_measured_are_told_so():
    run = sampled(40, 10)
    lines = texts(results_of(("a", measured(sampled(10, 5))), run=run))
    assert lines[1].split()[:6] == ["0.500", "n/a", "5.10", "ms", "n/a", "/src/app/pool.py:31"]
    assert "Whole run: contention 0.250, wait n/a in 1.00 s" in lines
    assert "1 test measured, method sampled, GIL enabled" in lines
    assert "Not exact: the self-test failed" in lines


def test_a_disabled_gil_has_no_numbers():
    assert texts(results_of(("a", measured(disabled())), run=disabled())) == [
        "Whole run: the GIL is disabled, so no thread waits for it",
        "1 test measured, method disabled, GIL disabled",
        "Locks are not measured: locks park since Python 3.13 only",
    ]


def test_without_a_gil_waits_are_those_for_what_took_its_place():
    waited = disabled(locks=locks())
    results = results_of(("a", measured(waited)), ("b", measured(disabled())), run=waited)
    head, row, *_ = texts(results)
    assert re.split(r"\s{2,}", head.strip()) == [
        *("wait", "max wait", "threads", "mostly for", "blame", "test")
    ]
    assert "cache.py:15 get" in row
    long_name = "test_whatever_has_no_room_for_blame"
    below = texts(results_of((long_name, measured(waited)), run=waited))[2]
    assert below.startswith("        let go by ")
    assert below.endswith("cache.py:15 get in worker")
    assert "261 ms" in row
    assert "40.0 ms" in row
    assert "objects (dict)" in row
    by_contention = results_of(("a", measured(waited)), run=waited, sort="contention")
    assert texts(by_contention)[0].startswith("contention")
    assert (
        "Whole run: the GIL is disabled, so no thread waits for it; waited for objects 200 ms,"
        " stopped world 60.0 ms, interpreter 1.00 ms, locks of the program 500 ms in 1.00 s"
    ) in texts(results)
    assert not any(line.split()[-1] == "b" for line in texts(results))


def test_details_name_the_types_and_the_threads():
    waited = disabled(locks=locks())
    lines = texts(results_of(("a", measured(waited)), run=waited), verbosity=1)
    assert (
        "    objects: 200 ms in 40 waits, the longest 30.0 ms (dict 150 ms, list 50.0 ms)" in lines
    )
    assert "    stopped world: 60.0 ms in 3 waits, the longest 40.0 ms" in lines
    assert "    thread worker: stopped world 60.0 ms" in lines


def test_beside_a_gil_waits_for_locks_are_told_apart_from_it():
    waited = raw(locks=locks())
    lines = texts(results_of(("a", measured(waited)), run=waited), verbosity=1)
    assert "mostly for" not in lines[0]
    assert "    locks of the program: 500 ms in 5 waits, the longest 200 ms" in lines
    assert any(
        line.startswith("Whole run: contention") and "; waited for" in line for line in lines
    )


def test_the_step_summary_is_headed_by_what_was_measured():
    off = disabled(locks=locks())
    without = terminal.as_markdown(results_of(("a", measured(off)), run=off))
    assert without.startswith("### Waits without the GIL\n")
    assert "wait: time threads waited for the interpreter, all together" in without
    assert "contention: share of the time" not in without
    mixed = terminal.as_markdown(results_of(("a", measured(off)), ("b", measured(raw()))))
    assert mixed.startswith("### GIL contention\n")
    assert "contention: share of the time in which the GIL was held" in mixed


def of_program(waited):
    place = lock_place("/src/app/pool.py", 8, "borrow", 12, "worker", waited)
    return locks(
        kinds={**NO_LOCKS, "program": (4, waited, waited)},
        types=[],
        victims={"program": [place]},
        blame={"program": [lock_place("/src/app/pool.py", 20, "give", 11, "MainThread", waited)]},
    )


@pytest.mark.parametrize("make", [raw, disabled])
def test_tests_in_the_order_of_their_waits_for_locks_of_the_program_too(make):
    no_locks = make(locks=locks(kinds=NO_LOCKS))
    tests = [
        ("t_none", measured(no_locks)),
        ("t_short", measured(make(locks=of_program(0.004)))),
        ("t_long", measured(make(locks=of_program(0.4)))),
    ]
    run = make(locks=of_program(0.404))
    lines = texts(results_of(*tests, run=run, sort="lock_wait"), width=80)
    assert re.split(r"\s{2,}", lines[0])[-4:] == ["lock wait", "threads", "mostly for", "test"]
    assert lines[1].endswith("  locks of the program  t_long")
    assert " 400 ms " in lines[1]
    assert lines[2] == "        let go by /src/app/pool.py:20 give in MainThread"
    assert lines[3].endswith("  locks of the program  t_short")
    assert "(1 test below 1 ms lock wait hidden. Use -vv to show.)" in lines
    assert "lock wait | threads | mostly for | blame" in re.sub(
        " +", " ", terminal.as_markdown(results_of(*tests, run=run, sort="lock_wait"))
    )


def over_limit(waited, kind="program", make=disabled):
    limit = ("max_lock_wait", 0.02, "--gil-max-lock-wait", None, kind)
    return measured(make(locks=waited), limits=[limit], verdicts=[(limit, True, "too long")])


@pytest.mark.parametrize("make", [raw, disabled])
def test_a_row_that_broke_a_limit_on_locks_says_by_what_wait_and_blames_who_let_go(make):
    tests = [("t_over", over_limit(of_program(0.4), make=make)), ("t_b", measured(make()))]
    head, row, *_ = texts(results_of(*tests, run=make(), threshold=0.0), width=160)
    cells = dict(zip(*(re.split(r"\s{2,}", line.strip()) for line in (head, row)), strict=True))
    if make is raw:  # sorted by wait, and the other has as much
        assert "mostly for" not in cells
    else:
        assert (cells["wait"], cells["mostly for"]) == ("0 s", "locks of the program")
    assert cells["limit"] == "400 ms > 20 ms@program"
    assert cells["blame"] == "/src/app/pool.py:20 give"


@pytest.mark.parametrize(
    ("width", "changes", "below"),
    [
        (
            100,
            {},
            [
                "waited 400 ms for a lock of the program,"
                " let go by /src/app/pool.py:20 give in MainThread"
            ],
        ),
        (
            80,
            {},
            [
                "waited 400 ms for a lock of the program,",
                "let go by /src/app/pool.py:20 give in MainThread",
            ],
        ),
        (80, {"blame": {}, "victims": {}}, ["waited 400 ms for a lock of the program"]),
    ],
)
def test_a_row_without_room_says_below_it_by_what_wait_it_broke_a_limit_on_locks(
    width, changes, below
):
    results = results_of((LONG * 2, over_limit({**of_program(0.4), **changes})))
    head, row, *lines = texts(results, width=width)
    assert "limit  mostly for  test" in head
    assert "20 ms@program  -  " in row
    assert [line for line in lines if line.startswith(" " * 8)] == [" " * 8 + one for one in below]


def test_a_row_whose_wait_is_in_a_column_names_what_was_waited_for_longest_where_a_limit_broke():
    limit = ("max_stop_the_world", 0.005, "--gil-max-stop-the-world", None, None)
    place = lock_place("/src/app/cache.py", 40, "sweep", 12, "worker", 0.06)
    waited = disabled(locks=locks(blame={"stop_the_world": [place]}))
    over = measured(waited, limits=[limit], verdicts=[(limit, True, "too long")])
    _, row, *_ = texts(results_of(("t", over)), width=160)
    assert re.split(r"\s{2,}", row.strip())[3:] == [
        *("40.0 ms > 5 ms", "stopped world", "/src/app/cache.py:40 sweep", "t")
    ]
    _, _, below, *_ = texts(results_of((LONG, over)))
    assert below == "        waited 40.0 ms for the stopped world,"


@pytest.mark.parametrize(("waited", "is_named"), [(0.0009, False), (0.001, True)])
def test_how_to_list_tests_by_their_waits_for_locks_is_said_where_there_are_some(waited, is_named):
    run = raw(locks=of_program(waited))
    hint = "(Use --gil-sort=lock_wait to list the tests by their waits for locks.)"
    assert (hint in texts(results_of(("a", measured(run)), run=run))) is is_named
    assert hint not in texts(results_of(("a", measured(run)), run=run, sort="lock_wait"))


@pytest.mark.parametrize("asked", [True, False])
def test_why_locks_were_not_measured_is_said_where_they_were_asked_for(asked):
    run = raw(locks="locks park since Python 3.13 only")
    lines = texts(results_of(("a", measured(run)), run=run, locks=asked))
    assert ("Locks are not measured: locks park since Python 3.13 only" in lines) is asked


def test_locks_that_only_the_run_as_a_whole_lacks_are_told_as_those():
    run = disabled(locks="more than 512 threads were there at once that had waited")
    tests = ("a", measured(disabled(locks=locks()))), ("b", measured(run))
    assert (
        "The locks of the whole run are not measured:"
        " more than 512 threads were there at once that had waited"
    ) in texts(results_of(*tests, run=run))


def test_without_waits_for_locks_their_order_shows_the_longest_waits():
    unknown = raw(locks="locks park since Python 3.13 only")
    small = {**unknown, "max_wait": 0.0}
    lines = texts(
        results_of(("a", measured(unknown)), ("b", measured(small)), run=unknown, sort="lock_wait")
    )
    assert lines[1].split()[-4:] == ["n/a", "2", "n/a", "a"]
    assert lines[2].startswith("        held by /src/app/pool.py:31 burn in worker (")
    assert "(1 test below 1 ms max wait hidden. Use -vv to show.)" in lines


def test_no_process_told_its_totals():
    results = Results(top=10, sort="wait")
    lines = texts(results)
    assert "Whole run: contention n/a, wait n/a in 0 s" in lines
    assert "0 tests measured, but no process reported its method" in lines


def test_a_busy_thread_alone_is_explained():
    alone = texts(results_of(run=raw(held=1.0, wait=0.0)))
    assert BUSY_ALONE in alone
    assert BUSY_ALONE not in texts(results_of(run=raw(held=1.0, wait=0.5)))
    assert BUSY_ALONE not in texts(results_of(run=raw(held=0.1, wait=0.0)))
    assert len(BUSY_ALONE) <= 80


def test_processes_are_counted():
    results = results_of(run=raw())
    results.add_process(totals(raw()))
    assert "0 tests measured, method exact, GIL enabled, 2 processes" in texts(results)


def yellow(results: Results) -> list[str]:
    lines: list[Line] = section(results, width=80, verbosity=0)
    return [line.text for line in lines if line.yellow]


@pytest.mark.parametrize(("run_delay", "told"), [(0.19, False), (0.21, True), (None, False)])
def test_a_busy_machine_is_told_when_it_matters(run_delay, told):
    warned = yellow(results_of(("a", measured(raw(run_delay=run_delay)))))
    assert any("machine was busy" in line for line in warned) == told


def test_limits_that_could_not_be_judged_are_told():
    limit = ("contention", 0.3, "--gil-max-contention")
    inconclusive = measured(
        sampled(1, 1), limits=[limit], verdicts=[(limit, False, "1 of 1 knock waited")]
    )
    results = results_of(("test_a", inconclusive), ("test_b", inconclusive))
    told = "Limits of 2 tests could not be judged, such as of test_a: 1 of 1 knock waited"
    assert yellow(results) == [told]
    assert told in texts(results, verbosity=-1)


def test_the_return_of_the_gil_is_told():
    assert yellow(results_of(("test_a", measured(raw(), gil_turned_on=True)))) == [
        "The GIL was turned on during test_a."
    ]


def test_the_return_of_the_gil_before_the_tests_is_told():
    results = Results(top=10, sort="wait")
    results.add_process(totals(raw(), gil_turned_on=True))
    assert yellow(results) == ["The GIL was turned on before the tests, by an import."]


def test_names_from_outside_are_escaped():
    blame = [blamed("/tmp/\x1b[2Jx.py", 1, "f\n", 12, "w\x07", 0.1, 2)]
    results = results_of(("a\x1b[31m\r", measured(raw(blame=blame))))
    stacks = 'Thread 0x7 (most recent call first):\n  File "/tmp/\x1b[2Jx.py", line 1 in f\n'
    stall = ("a\x1b[31m\r", 1.5, "w\x07", 7, stacks)
    results.add_process({**totals(raw()), "stalls": [stall], "stalls_omitted": 0})
    lines = texts(results, width=120, verbosity=1)
    assert [line for line in lines if not line.isprintable()] == []
    assert [line for line in lines if line.startswith("Stall: ")] != []


STACKS = """\
Thread 0x8 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 327 in wait

Thread 0x7 (most recent call first):
  File "/usr/lib/python3.11/json/decoder.py", line 353 in raw_decode
  File "/usr/lib/python3.11/json/__init__.py", line 346 in loads
  File "/src/app/feed.py", line 25 in parse
  File "/usr/lib/python3.11/threading.py", line 982 in run
"""


def test_a_stall_is_placed_as_blame_is():
    results = results_of(("t", measured(raw())), root="/src")
    stall = ("t", 1.5, "worker", 7, STACKS)
    unknown = ("t", 1.5, None, 9, STACKS)
    results.add_process({**totals(raw()), "stalls": [stall, unknown], "stalls_omitted": 0})
    assert [line for line in texts(results) if line.startswith("Stall: ")] == [
        "Stall: no thread could get the GIL for 1.50 s in t, held at"
        " app/feed.py:25 parse > decoder.raw_decode by worker",
        "Stall: no thread could get the GIL for 1.50 s in t",
    ]


@pytest.mark.parametrize("verbosity", [-1, 0])
@pytest.mark.parametrize(("run_delay", "times"), [(0.3, 1), (0.0, 0)])
def test_beside_a_stall_a_busy_machine_is_told_once(verbosity, run_delay, times):
    results = results_of(("t", measured(raw(wall=1.0, run_delay=run_delay))))
    stall = ("t", 1.5, "worker", 7, STACKS)
    results.add_process({**totals(raw()), "stalls": [stall], "stalls_omitted": 0})
    told = texts(results, verbosity=verbosity)
    assert sum("machine was busy" in line for line in told) == times


def test_the_places_most_waited_for_over_all_tests():
    slow = blamed("/src/app/slow.py", 3, "slow", 12, "worker", 0.2, 9)
    seldom = blamed("/src/app/seldom.py", 4, "seldom", 12, "worker", 0.1, 2)
    calm = {"hand_over": 0.0, "unlooked": 0.001}
    results = results_of(
        ("a", measured(raw(blame=[slow], wait=0.3, **calm | {"hand_over": 0.099}))),
        ("b", measured(raw(blame=[slow, seldom], wait=0.301, **calm))),
        root="/src",
    )
    lines = texts(results)
    at = lines.index("   wait  share  tests  held by, over all tests      thread")
    assert lines[at + 1 : at + 6] == [
        " 400 ms   67 %      2  app/slow.py:3 slow           worker",
        "99.0 ms   16 %      1  (hand-over: nobody held it)  -",
        "(100 ms, 17 %, at 1 more place with less, or seen fewer than 3 times)",
        "  wait  share  tests  waited in, over all tests  thread",
        "400 ms   67 %      2  app/loop.py:7 run          MainThread",
    ]


def test_no_places_where_nothing_waited():
    lines = texts(results_of(("a", measured(raw(wait=0.0, blame=[], victims=[])))))
    assert not [line for line in lines if "over all tests" in line]


def audit_of(*readings, width=90, top=10):
    results = results_of(*((f"t{n}", measured(one)) for n, one in enumerate(readings)))
    results.top = top
    return [line.text for line in terminal.audit_lines(results, width)]


AUDIT_END = (
    "Audit: gilknock's own thread held the GIL for 1.20 ms; each time it asks, a thread that"
    " computes lets go once"
)


def test_the_audit_lists_native_calls_that_keep_the_gil():
    other = ((("/src/other.py", 1, "x", None),), 11, "MainThread", 0.2, 0.01, 20)
    second = raw(max_hold=0.03, holds=[*AUDITED["holds"], other], holds_unseen=1)
    assert audit_of(raw(**AUDITED), second) == [
        "longest  holds    held  tests  native calls that keep the GIL          thread",
        "30.0 ms      8  160 ms      2  /src/app/native.py:5 call > zlib.crc32  worker",
        "10.0 ms     20  200 ms      1  /src/other.py:1 x                       MainThread",
        "(1 more hold whose place is not known)",
        AUDIT_END,
    ]
    assert audit_of(raw(**AUDITED), second, top=1)[2] == (
        "(1 more place. Use --gil-top=0 to show all.)"
    )


def test_the_audit_says_that_there_was_none_or_no_audit():
    none = "No native call kept the GIL: each hold ended when a thread asked for it."
    assert audit_of(raw(max_hold=0.0)) == [none, AUDIT_END]
    assert audit_of(sampled(9, 3)) == ["No holds of the GIL were audited: the self-test failed"]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_audit_fits_the_terminal_and_keeps_line_numbers(width):
    deep = ("/src/" + "x" * 60 + ".py", 12345, "f" * 60, None)
    lines = audit_of(raw(max_hold=0.03, holds=[((deep,), 12, "w" * 50, 0.1, 0.03, 4)]), width=width)
    assert all(len(line) <= max(width, len(AUDIT_END)) for line in lines)
    assert ":12345" in lines[1]
