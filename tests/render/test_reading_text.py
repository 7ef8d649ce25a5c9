from dataclasses import replace

import pytest
from support.scripted import blamed, disabled, locks, raw, reading, sampled

from pytest_gilknock.model.convoy import Convoy
from pytest_gilknock.model.limits import Limit, LimitVerdict
from pytest_gilknock.model.reading import GilReading
from pytest_gilknock.render.reading_text import breach_text, convoy_text

BREACH = LimitVerdict(
    Limit("max_wait", 0.001, "@pytest.mark.max_gil_wait"), True, "max wait 5.20 ms, limit 1 ms"
)


def test_a_breach_tells_all_that_was_measured(tmp_path):
    source = tmp_path / "pool.py"
    source.write_text("def burn():\n    total += i * i\n")
    blame = [blamed(str(source), 2, "burn", 12, "worker", 0.1, 25)]
    assert breach_text(reading(blame=blame), [BREACH]).splitlines() == [
        "GIL limit exceeded: max wait 5.20 ms, limit 1 ms, set by @pytest.mark.max_gil_wait",
        "  contention  0.500 (the GIL was held 500 ms of 1.00 s)",
        "  wait        250 ms over all threads; longest single wait 5.20 ms",
        "  threads     2 threads took the GIL, busiest first:",
        "              worker: held 400 ms, waited 50.0 ms",
        "              MainThread: held 100 ms, waited 200 ms",
        "  blame       where the GIL was held while others waited:",
        f"              {source}:2 burn in worker: threads waited 100 ms (25 looks)",
        "                  total += i * i",
        "  waited      where threads waited:",
        "              MainThread in /src/app/loop.py:7 run: waited 200 ms, longest 5.20 ms",
    ]


def test_two_breaches_are_both_named_and_an_inconclusive_limit_is_not():
    other = LimitVerdict(Limit("contention", 0.3, "--gil-max-contention"), True, "contention 0.5")
    unclear = LimitVerdict(Limit("contention", 0.3, "ini key gil_max_contention"), False, "too few")
    text = breach_text(reading(), [other, BREACH, unclear], "setup")
    assert text.splitlines()[:2] == [
        "GIL limit exceeded during setup: contention 0.5, set by --gil-max-contention",
        "GIL limit exceeded during setup: max wait 5.20 ms, limit 1 ms,"
        " set by @pytest.mark.max_gil_wait",
    ]
    assert "too few" not in text


@pytest.mark.parametrize(
    ("kind", "limit", "broken"),
    [
        (
            "stop_the_world",
            Limit("max_stop_the_world", 0.005, "--gil-max-stop-the-world"),
            "stop-the-world limit exceeded: worker waited 40.0 ms for the stopped world in /a.py:7"
            " run, stopped by /a.py:9 collect in MainThread; limit 5 ms, set by"
            " --gil-max-stop-the-world",
        ),
        (
            "program",
            Limit("max_lock_wait", 0.005, "--gil-max-lock-wait"),
            "lock limit exceeded: worker waited 40.0 ms for a lock of the program in /a.py:7 run,"
            " let go by /a.py:9 collect in MainThread; limit 5 ms, set by --gil-max-lock-wait",
        ),
    ],
)
def test_a_breach_is_headed_by_what_its_limit_is_on_and_says_who_ended_the_wait(
    kind, limit, broken
):
    stacks = [(("/a.py", 7, "run", None),), (("/a.py", 9, "collect", None),)]
    longest = (0.04, 0.5, False, 12, "worker", *stacks, 11, "MainThread")
    one = GilReading.from_raw(disabled(locks=locks(longest={kind: longest})))
    verdict = LimitVerdict(limit, True, "not the fact")
    assert breach_text(one, [verdict]).splitlines()[0] == broken


def test_a_sampled_breach_tells_what_it_rests_on():
    text = breach_text(GilReading.from_raw(sampled(50, 30)), [BREACH])
    assert "contention  0.600 (30 of 50 requests of gilknock's own thread waited in 1.00 s)" in text
    assert "wait        n/a; gilknock's own thread waited 5.10 ms at most" in text
    assert "method      sampled: the self-test failed" in text
    assert "threads   " not in text


@pytest.mark.parametrize(("run_delay", "told"), [(None, False), (0.19, False), (0.21, True)])
def test_a_busy_machine_is_told_when_it_matters(run_delay, told):
    text = breach_text(reading(run_delay=run_delay), [BREACH])
    assert ("machine     busy: threads stood ready for 210 ms without a processor" in text) == told


def test_threads_that_made_room_are_counted():
    text = breach_text(reading(threads_omitted=7), [BREACH])
    assert "9 threads took the GIL, busiest first" in text
    assert "(7 of them ended and made room for others)" in text


def test_only_the_worst_threads_and_lines_are_told():
    threads = [(n, f"w{n}", n / 10, 0.0, 1, 0, 0.0) for n in range(9)]
    blame = [blamed("/nowhere.py", n, "f", n, f"w{n}", n / 10, 5) for n in range(1, 9)]
    text = breach_text(GilReading.from_raw(raw(threads=threads, blame=blame)), [BREACH])
    assert "9 threads took the GIL" in text
    assert [name for name in (f"w{n}:" for n in range(9)) if f"  {name}" in text] == [
        "w6:",
        "w7:",
        "w8:",
    ]
    assert text.count("/nowhere.py") == 3
    assert "  (6 more threads)\n" in text
    assert " more thread" not in breach_text(
        GilReading.from_raw(raw(threads=threads[:3])), [BREACH]
    )


def test_names_from_outside_are_escaped():
    blame = [blamed("/tmp/\x1b[2J.py", 1, "f", 12, "w\x07", 0.1, 2)]
    threads = [(12, "w\x07", 0.1, 0.0, 1, 0, 0.0)]
    text = breach_text(reading(blame=blame, threads=threads), [BREACH])
    assert all(line.isprintable() for line in text.splitlines())


RUN = (("/src/app/loop.py", 7, "run", "select.epoll.poll"),)
PARSE = (("/src/app/parsing.py", 9, "parse_batch", None),)


def longest(native_id=11, name="MainThread", is_knock=False):
    return (0.067, 0.2, is_knock, native_id, name, RUN, PARSE, 12, "AnyIO worker thread")


def first_line(limit, **changes):
    text = breach_text(reading(**changes), [LimitVerdict(limit, True, "max wait 67.0 ms")])
    return text.splitlines()[0].removeprefix("GIL limit exceeded: ")


def test_a_limit_on_waiting_names_the_victim_first():
    sentence = (
        "MainThread waited 67.0 ms in /src/app/loop.py:7 run > select.epoll.poll,"
        " kept by /src/app/parsing.py:9 parse_batch in AnyIO worker thread; limit 1 ms,"
        " set by @pytest.mark.max_gil_wait"
    )
    assert first_line(BREACH.limit, longest_wait=longest()) == sentence
    of_thread = BREACH.limit._replace(thread="MainThread")
    assert first_line(of_thread, longest_wait=longest()) == sentence
    for limit in (BREACH.limit, of_thread, of_thread._replace(thread="worker")):
        verdict = BREACH._replace(limit=limit)
        text = breach_text(reading(longest_wait=longest()), [verdict])
        assert text.count("MainThread waited 67.0 ms") == 1


@pytest.mark.parametrize(
    "other",
    [None, longest(12, "worker"), longest(11, "another"), longest(0, None, is_knock=True)],
)
def test_a_limit_on_a_thread_that_did_not_wait_longest_tells_its_own_waits(other):
    line = first_line(BREACH.limit._replace(thread="Main*"), longest_wait=other)
    assert line == (
        "MainThread waited 5.20 ms at once, most of all in /src/app/loop.py:7 run"
        " (200 ms in all); limit 1 ms, set by @pytest.mark.max_gil_wait"
    )
    other = (RUN, 11, "another", 0.3, 0.01, 9)  # whose id the kernel has used again
    line = first_line(BREACH.limit._replace(thread="Main*"), victims=[other])
    assert line.startswith("MainThread waited 5.20 ms; limit 1 ms")
    line = first_line(BREACH.limit._replace(thread="worker"), victims=[])
    assert line.startswith("worker waited 4.10 ms; limit 1 ms")


@pytest.mark.parametrize(
    ("kept", "looks", "is_named"),
    [
        (0.24, 25, True),  # 190 of the 200 ms of MainThread at least, as another waited 50 ms
        (0.16, 25, True),  # 110
        (0.14, 25, False),  # 90
        (0.24, 2, False),
    ],
)
def test_who_surely_kept_most_of_a_threads_wait_is_named(kept, looks, is_named):
    blame = [blamed("/src/app/pool.py", 31, "burn", 12, "worker", kept, looks)]
    line = first_line(BREACH.limit._replace(thread="Main*"), blame=blame)
    words = "(200 ms in all), mostly kept by /src/app/pool.py:31 burn in worker; limit 1 ms"
    assert (words in line) == is_named
    assert ("kept by" in line) == is_named
    let_go = first_line(BREACH.limit._replace(thread="Main*"), blame=blame, blame_method="released")
    assert "kept by" not in let_go


def test_one_wait_of_a_thread_is_told_once():
    alone = [(11, "MainThread", 0.1, 0.2, 50, 1, 0.2)]
    line = first_line(BREACH.limit._replace(thread="Main*"), threads=alone)
    assert line.startswith("MainThread waited 200 ms, most of all in /src/app/loop.py:7 run; limit")


@pytest.mark.parametrize(
    ("mean", "told"),
    [
        (0.0054, "for about the switch interval of 5 ms (5.40 ms on average, 540 ms in all)"),
        (0.003, "for about the switch interval of 5 ms (3.00 ms on average, 300 ms in all)"),
        (0.0199, "for about 4 switch intervals of 5 ms (19.9 ms on average, 1.99 s in all)"),
    ],
)
def test_a_convoy_behind_several_threads_waits_several_switch_intervals(mean, told):
    server, hog = reading().threads[:1], reading().threads[:1]
    convoy = Convoy(server, hog, 0.005, 100, 100 * mean, 100, 0.001)
    assert told in convoy_text(convoy)


POOL = [f"ThreadPoolExecutor-0_{number}" for number in range(4)]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (POOL, "ThreadPoolExecutor-0_* (4)"),
        (["MainThread", *POOL, "server"], "ThreadPoolExecutor-0_* (4), MainThread, server"),
        (["server", "other"], "server, other"),
        (["a", "b", "c", *POOL, "d"], "ThreadPoolExecutor-0_* (4), a, b and 2 more"),
        (["w1", "w2", "w3"], "w1, w2, w3"),
        (
            ["Thread-1 (serve)", "Thread-2 (serve)", "Thread-3 (poll)"],
            "Thread-* (2), Thread-3 (poll)",
        ),
        (["AnyIO worker thread"] * 5, "AnyIO worker thread (5)"),
        ([*["io"] * 2, "io2"], "io (2), io2"),
    ],
)
def test_the_threads_of_a_pool_are_one_in_a_convoy(names, told):
    (thread, *_) = reading().threads
    threads = tuple(replace(thread, name=name) for name in names)
    text = convoy_text(Convoy(threads, threads, 0.005, 100, 0.5, 100, 0.001))
    assert text.startswith(f"{told} waited 100 times ")
    assert f" beside {told} that compute" in text
