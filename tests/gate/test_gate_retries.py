"""Measuring again: which tests, with what fixtures, and which attempt counts."""

import json
from pathlib import Path

import pytest
from support.gate_samples import BUSY, FREE, GATE, SCRIPTED, read, write

pytestmark = SCRIPTED


SETUP = (
    BUSY
    + """
import pytest

LOG = []

@pytest.fixture(autouse=True, scope="session")
def log_file(pytestconfig):
    yield
    pytestconfig.rootpath.joinpath("log.txt").write_text(" ".join(LOG))

@pytest.fixture(scope="module")
def shared():
    LOG.append("shared")
    yield
    LOG.append("unshared")

@pytest.fixture
def own():
    LOG.append("own")
    yield object()
    LOG.append("disowned")

def work(busy_runs):
    LOG.append("run")
    busy(LOG.count("run") <= busy_runs)
"""
)


def retried(
    pytester: pytest.Pytester, test: str, *arguments: str, retries: int = 2, **others: object
) -> pytest.RunResult:
    pytester.makepyfile(test_a=SETUP + test, test_b="def test_after(): pass\n")
    write(pytester.path / "base.json", test_one=FREE, **{"TestIt::test_one": FREE})
    return pytester.runpytest(
        "--gil-compare=base.json", GATE, f"--gil-compare-retries={retries}", *arguments
    )


def log(pytester: pytest.Pytester) -> str:
    return Path(pytester.path, "log.txt").read_text()


def test_a_repetition_that_is_broken_off_leaves_no_fixtures_behind(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeconftest(
        "def pytest_sessionfinish(session):\n"
        "    seen = session.items[0].funcargs\n"
        "    session.config.rootpath.joinpath('seen.txt').write_text(repr(seen))\n"
    )
    test = "def test_one(own):\n    if 'run' in LOG:\n        pytest.exit('enough')\n    work(1)\n"
    retried(pytester, test)
    assert Path(pytester.path, "seen.txt").read_text() == "None"


FLAKY = "def test_one(shared, own):\n    work(busy_runs=1)\n"


@pytest.mark.parametrize("arguments", [[], ["-n1"]])
def test_a_test_over_its_gate_is_run_again_with_fresh_fixtures_until_most_are_within(
    pytester: pytest.Pytester, arguments: list[str]
) -> None:
    if arguments:
        pytest.importorskip("xdist")
    result = retried(pytester, FLAKY, "--junitxml=j.xml", "--gil-report", *arguments)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "1 test of this run compared with base.json: 1 steady",
            "test_a.py::test_one was measured 3 times, and was over the gate in 1 of them",
        ]
    )
    cycle = "own run disowned"
    assert log(pytester) == f"shared {cycle} {cycle} {cycle} unshared"
    junit = pytester.path.joinpath("j.xml").read_text()
    assert junit.count("<testcase") == 2
    assert '<property name="gil_attempts" value="3"' in junit
    assert junit.count('name="gil_change_contention"') == 1


def test_a_test_that_is_over_its_gate_more_often_than_not_fails_with_the_attempt_in_the_middle(
    pytester: pytest.Pytester,
) -> None:
    test = (
        "import threading\n"
        "@pytest.fixture(scope='module')\n"
        "def end():\n"
        "    end = threading.Event()\n"
        "    yield end\n"
        "    end.set()\n"
        "def test_one(end):\n"
        "    LOG.append('run')\n"
        "    attempt = LOG.count('run')\n"
        "    threading.Thread(target=end.wait, name=f'attempt {attempt}').start()\n"
        "    busy([0.9, 0.0, 0.7, 0.0, 0.8][attempt - 1])\n"
    )
    result = retried(pytester, test, "--gil-json=out.json", retries=4)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "GIL contention regression: contention 0.700, was 0.000 *",
            "*measured 5 times, over the gate in 3 of them; this is the one in the middle*",
            "!  contention   0.000  0.700 *",
            "test_a.py::test_one was measured 5 times, and was over the gate in 3 of them",
        ]
    )
    (reading,) = [
        test["reading"]
        for test in json.loads(pytester.path.joinpath("out.json").read_text())["tests"]
        if test["nodeid"] == "test_a.py::test_one"
    ]
    names = {thread["name"] for thread in reading["threads"] if thread["name"]}
    assert {name for name in names if name.startswith("attempt")} == {"attempt 3"}


@pytest.mark.parametrize(
    ("attempts", "retries", "runs", "red"),
    [
        ("w", 4, 1, False),  # within at once
        ("oo", 2, 2, True),
        ("owo", 2, 3, True),  # a single quick one acquits nobody
        ("oww", 2, 3, False),
        ("oo", 1, 2, True),
        ("ow", 1, 2, False),
        ("ooo", 3, 3, True),
        ("owoo", 3, 4, True),
        ("oww", 3, 3, False),
        ("oowwo", 4, 5, True),
        ("owww", 4, 4, False),
    ],
)
def test_the_majority_of_the_attempts_decides_and_no_more_are_made_than_it_takes(
    pytester: pytest.Pytester, attempts: str, retries: int, runs: int, red: bool
) -> None:
    test = (
        "def test_one(own):\n"
        "    LOG.append('run')\n"
        f"    busy('{attempts}'[LOG.count('run') - 1] == 'o')\n"
    )
    result = retried(pytester, test, retries=retries)
    result.assert_outcomes(passed=1 if red else 2, failed=int(red))
    assert log(pytester).count("run") == runs


def test_without_the_option_nothing_is_run_again(pytester: pytest.Pytester) -> None:
    retried(pytester, FLAKY, retries=0).assert_outcomes(passed=1, failed=1)
    assert log(pytester).count("run") == 1


def test_a_test_within_its_gate_runs_once(pytester: pytest.Pytester) -> None:
    retried(pytester, "def test_one(own):\n    work(busy_runs=0)\n").assert_outcomes(passed=2)
    assert log(pytester) == "own run disowned"


@pytest.mark.parametrize("failure", ["assert 0", "pytest.skip()", "raise SystemError"])
def test_a_test_that_fails_or_skips_by_itself_is_not_run_again(
    pytester: pytest.Pytester, failure: str
) -> None:
    retried(pytester, f"def test_one(own):\n    work(9)\n    {failure}\n")
    assert log(pytester) == "own run disowned"


def test_a_failure_of_a_repetition_stands(pytester: pytest.Pytester) -> None:
    test = "def test_one(own):\n    work(9)\n    assert LOG.count('run') == 1\n"
    result = retried(pytester, test)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["E *AssertionError*", "*measured 2 times, this is the last, which failed by itself"]
    )
    assert log(pytester).count("run") == 2


SLEEP = "time.sleep(0.05)"
SPIN = "end = time.perf_counter() + 0.05\n        while time.perf_counter() < end: pass"
NOT_CALLABLE = "could not be judged: TypeError: 'NoneType' object is not callable"


@pytest.mark.parametrize(
    ("setup", "body", "words"),
    [
        ("pass", "assert 0", "failed by itself"),
        ("assert 0", "pass", "failed by itself"),
        ("pass", SPIN, "is over a limit"),
        ("pass", "pytest.skip()", "was skipped"),
        ("pass", "pytest.xfail()", "failed as expected"),
        ("monkeypatch.setattr(_core, 'Window', None)", SLEEP, NOT_CALLABLE),
        ("monkeypatch.setattr(checker, 'compare_test', None)", SLEEP, NOT_CALLABLE),
    ],
    ids=["fails", "setup fails", "limit", "skips", "xfails", "unmeasured", "error"],
)
def test_of_a_repetition_that_no_gate_judges_it_is_said_what_became_of_it(
    pytester: pytest.Pytester, setup: str, body: str, words: str
) -> None:
    with pytester.path.joinpath("conftest.py").open("a") as conftest:
        conftest.write(
            "\ndef pytest_runtest_logreport(report):\n"
            "    for _, text in report.sections:\n"
            "        print('SECTION', text)\n"
        )
    test = (
        "import time\n"
        "from pytest_gilknock import _core\n"
        "from pytest_gilknock.gate import checker\n"
        "@pytest.fixture\n"
        "def second(monkeypatch):\n"
        "    if 'run' in LOG:\n"
        f"        {setup}\n"
        "@pytest.mark.max_gil_contention(0.6)\n"
        "def test_one(second):\n"
        "    work(9)\n"
        "    if LOG.count('run') == 2:\n"
        f"        {body}\n"
        "    else:\n"
        f"        {SLEEP}\n"
    )
    result = retried(pytester, test, "-s")
    assert f"SECTION measured 2 times, this is the last, which {words}" in result.stdout.str()


@pytest.mark.parametrize("error", ["once", "always"])
def test_a_teardown_that_fails_ends_the_repetitions_and_is_reported(
    pytester: pytest.Pytester, error: str
) -> None:
    test = (
        "@pytest.fixture(scope='module')\n"
        "def outer():\n"
        "    yield\n"
        "    LOG.append('outer')\n"
        f"    assert {error == 'once'}, 'outer teardown'\n"
        "@pytest.fixture\n"
        "def broken(outer):\n"
        "    yield\n"
        "    assert 0, 'own teardown'\n"
        "def test_one(broken):\n"
        "    work(9)\n"
    )
    result = retried(pytester, test)
    result.assert_outcomes(passed=1, failed=1, errors=1 if error == "once" else 2)
    assert log(pytester) == "run outer"


def test_a_method_gets_an_instance_of_its_own_each_time(pytester: pytest.Pytester) -> None:
    test = (
        "class TestIt:\n"
        "    def test_one(self, own):\n"
        "        assert not hasattr(self, 'mark')\n"
        "        self.mark = 1\n"
        "        work(busy_runs=1)\n"
    )
    retried(pytester, test).assert_outcomes(passed=2)
    assert log(pytester) == " ".join(["own run disowned"] * 3)


def test_a_testcase_of_unittest_is_set_up_each_time(pytester: pytest.Pytester) -> None:
    test = (
        "import unittest\n"
        "class TestIt(unittest.TestCase):\n"
        "    def setUp(self): LOG.append('up')\n"
        "    def tearDown(self): LOG.append('down')\n"
        "    def test_one(self): work(busy_runs=1)\n"
    )
    retried(pytester, test).assert_outcomes(passed=2)
    assert log(pytester) == "up run down up run down up run down"


def test_a_testcase_of_unittest_that_fails_by_itself_is_not_run_again(
    pytester: pytest.Pytester,
) -> None:
    test = (
        "import unittest\n"
        "class TestIt(unittest.TestCase):\n"
        "    def test_one(self):\n"
        "        work(9)\n"
        "        self.fail('own')\n"
    )
    result = retried(pytester, test)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["0 tests of this run compared with base.json: nothing *"])
    assert log(pytester) == "run"


def test_a_test_with_subtests_is_not_run_again(pytester: pytest.Pytester) -> None:
    test = "def test_one(subtests):\n    with subtests.test('a'):\n        work(9)\n"
    retried(pytester, test)
    assert log(pytester) == "run"


@pytest.mark.parametrize("option", ["--setup-show", "-x"])
def test_other_options_keep_their_meaning(pytester: pytest.Pytester, option: str) -> None:
    result = retried(pytester, "def test_one(own):\n    work(9)\n", option, retries=1)
    if option == "-x":
        result.assert_outcomes(failed=1)
        assert log(pytester).count("run") == 2
    else:
        result.assert_outcomes(passed=1, failed=1)
        assert log(pytester).count("run") == 1


def test_what_is_saved_is_the_attempt_that_counts(pytester: pytest.Pytester) -> None:
    retried(pytester, FLAKY, "--gil-save=saved.json")
    saved = read(pytester.path / "saved.json").tests["test_a.py::test_one"]
    assert saved.metrics["contention"] == 0.0
