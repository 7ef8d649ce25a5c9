import pytest
from support.scripted import breach, disabled, measured, raw, sampled, totals

from pytest_gilknock.reporting.results import Results


def names(results: Results) -> list[str]:
    return [entry.nodeid for entry in results.rows()]


def test_worst_are_those_who_made_others_wait_most():
    results = Results(top=0, sort="wait")
    results.add("waits", "passed", measured(raw(wait=0.2, max_wait=0.001)))
    results.add("busy", "passed", measured(raw(wait=0.1, max_wait=0.1, held=1.0)))
    results.add("held", "passed", measured(raw(wait=0.1, max_wait=0.005, held=0.9)))
    results.add("less", "passed", measured(raw(wait=0.1, max_wait=0.005, held=0.8)))
    assert names(results) == ["waits", "busy", "held", "less"]


@pytest.mark.parametrize(
    ("sort", "worst"), [("wait", "a"), ("max_wait", "b"), ("held", "c"), ("contention", "d")]
)
def test_sort(sort, worst):
    results = Results(top=0, sort=sort)
    results.add("a", "passed", measured(raw(wait=0.9)))
    results.add("b", "passed", measured(raw(max_wait=0.9)))
    results.add("c", "passed", measured(raw(held=0.9)))
    results.add("d", "passed", measured(raw(held=0.6, wall=0.6)))
    assert names(results)[0] == worst


def test_equals_stay_in_the_order_they_ran():
    results = Results(top=0, sort="wait")
    for name in "abc":
        results.add(name, "passed", measured(raw()))
    assert names(results) == ["a", "b", "c"]


def test_small_waits_get_no_row_but_count():
    results = Results(top=10, sort="wait")
    results.add("alone", "passed", measured(raw(wait=0.0, held=1.0, max_wait=0.005)))
    results.add("just", "passed", measured(raw(wait=0.001)))
    assert names(results) == ["just"]
    assert (len(results.tests), results.with_row) == (2, 1)


def test_without_a_threshold_everything_gets_a_row():
    results = Results(top=0, sort="wait", threshold=0.0)
    results.add("alone", "passed", measured(raw(wait=0.0)))
    results.add("unseen", "passed", measured(sampled(0, 0, None)))
    assert names(results) == ["alone", "unseen"]


def test_sampled_readings_get_a_row_by_their_longest_knock():
    results = Results(top=10, sort="wait")
    results.add("long", "passed", measured(sampled(10, 5, 0.005)))
    results.add("short", "passed", measured(sampled(10, 5, 0.0005)))
    results.add("none", "passed", measured(sampled(0, 0, None)))
    assert names(results) == ["long"]


def test_only_the_worst_are_kept_of_very_many():
    results = Results(top=3, sort="wait")
    for number in range(10_000):
        results.add(
            str(number), "passed", measured(raw(wait=0.01 + (number * 7919 % 10_000) / 1e4))
        )
    assert [entry.reading.wait for entry in results.rows()] == pytest.approx(
        [1.0099, 1.0098, 1.0097]
    )
    assert results.with_row == 10_000
    assert len(results._worst) < 200


def test_a_breach_always_has_a_row():
    results = Results(top=1, sort="wait")
    results.add("worst", "passed", measured(raw(wait=0.5)))
    results.add("second", "passed", measured(raw(wait=0.4)))
    results.add("breach", "failed", breach(raw(wait=0.0)))
    assert names(results) == ["worst", "breach"]
    assert results.with_row == 3


def test_keep_all_keeps_what_has_no_row():
    results = Results(top=1, sort="wait", keep_all=True)
    for number in range(500):
        results.add(str(number), "passed", measured(raw(wait=0.0)))
    assert [entry.nodeid for entry in results.everything()] == sorted(map(str, range(500)))
    assert results.rows() == []


def test_inconclusive_limits_are_counted_and_the_first_is_kept():
    limit = ("contention", 0.3, "gil_max_contention")
    inconclusive = measured(
        sampled(1, 1, 0.0), limits=[limit], verdicts=[(limit, False, "not enough knocks")]
    )
    results = Results(top=10, sort="wait")
    results.add("a", "passed", inconclusive)
    results.add("b", "passed", inconclusive)
    assert results.inconclusive == {"a", "b"}
    assert results.first_inconclusive is not None
    assert results.first_inconclusive.name == "a"
    assert results.rows() == []


def test_a_limit_that_could_not_be_judged_is_told_of_a_test_that_broke_another():
    of_thread = ("max_wait", 0.3, "--gil-max-wait", "Nobody", None)
    of_all = ("max_wait", 0.001, "--gil-max-wait", None, None)
    verdicts = [(of_all, True, "max wait 5 ms"), (of_thread, False, "no thread of that name")]
    results = Results(top=10, sort="wait")
    results.add("a", "failed", measured(raw(), limits=[of_all, of_thread], verdicts=verdicts))
    assert results.inconclusive == {"a"}
    assert results.first_inconclusive is not None
    assert [verdict.fact for verdict in results.first_inconclusive.unjudged] == [
        "no thread of that name"
    ]


def test_a_name_tells_the_phase_unless_it_is_the_call():
    results = Results(top=10, sort="wait")
    results.add("test_a", "passed", measured(raw(), phase="setup"))
    results.add("test_a", "passed", measured(raw()))
    assert [entry.name for entry in results.rows()] == ["test_a (setup)", "test_a"]


def test_whole_sums_processes():
    results = Results(top=10, sort="wait")
    results.add_process(totals(raw(wall=1.0, held=0.2, wait=0.1)))
    results.add_process(totals(raw(wall=3.0, held=0.6, wait=0.3)))
    whole = results.summary()
    assert whole.contention == pytest.approx(0.2)
    assert whole.wait == pytest.approx(0.4)
    assert whole.methods == ["exact"]
    assert whole.windows_cost == pytest.approx(0.042)


def test_tests_too_short_to_tell_of_count():
    results = Results(top=10, sort="wait")
    results.add("test_a", "passed", measured(raw(wait=0.1)))
    for number in range(5):
        results.add_short(f"test_{number}")
    assert (len(results.tests), results.with_row) == (6, 1)


def test_run_delay_is_set_against_the_tests_of_which_it_is_known():
    results = Results(top=10, sort="wait")
    results.add("test_a", "passed", measured(raw(run_delay=0.3, wall=1.0)))
    results.add("test_b", "passed", measured(raw(run_delay=None, wall=1.0)))
    assert (results.run_delay, results.thread_time) == (0.3, 2.0)


def test_whole_does_not_add_up_what_one_process_did_not_measure():
    results = Results(top=10, sort="wait")
    results.add_process(totals(raw(wait=0.1)))
    results.add_process(totals(sampled(10, 5)))
    whole = results.summary()
    assert whole.wait is None
    assert whole.held is None
    assert whole.methods == ["exact", "sampled"]
    assert whole.reasons == ["the self-test failed"]


def test_whole_of_nothing_claims_nothing():
    whole = Results(top=10, sort="wait").summary()
    assert (whole.contention, whole.held, whole.wait, whole.methods) == (None, None, None, [])


def test_whole_with_the_gil_disabled():
    results = Results(top=10, sort="wait")
    results.add_process(totals(disabled()))
    assert results.summary().contention is None
    assert not results.summary().gil_enabled
