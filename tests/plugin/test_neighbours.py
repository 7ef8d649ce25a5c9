"""Plugins that run tests in ways of their own, or keep what is reported of them."""

import json

import pytest
from support import inner
from support.inner import exact, section

FLAKY = """
import time
import pytest

tried = []

{mark}
def test_at_last():
    began = time.perf_counter()
    tried.append(1)
    time.sleep(0.03 if len(tried) == 3 else 0.3)
    with open("took", "w") as file:
        file.write(str(time.perf_counter() - began))
    assert len(tried) == 3
"""
EARLIER = 0.6
"""Seconds that the first two runs of it take, at the least."""


def assert_of_the_last_run(pytester, reading):
    """Assert that a reading is of the last run of the flaky test, and not of those before it."""
    took = float(pytester.path.joinpath("took").read_text())
    assert took <= reading["wall"] < took + EARLIER


def run(pytester, *args, company):
    """Run pytest in a process of its own, with these plugins besides those of all runs."""
    loaded = [f"-p{name}" for name in company if name != "pytest_rerunfailures"]
    without = [f"-pno:{name}" for name in inner.WITHOUT if f"pytest_{name}" not in company]
    return pytester.runpytest_subprocess(*without, *loaded, *args)


@exact
@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["alone", "xdist"])
def test_pytest_retry(pytester, workers):
    """It runs a test again within the hook that makes the report."""
    pytest.importorskip("pytest_retry")
    pytester.makepyfile(FLAKY.format(mark="@pytest.mark.flaky(retries=3)"))
    args = ["--gil-report", "--gil-json=out.json", "--junitxml=junit.xml", *workers]
    result = run(pytester, *args, company=["pytest_retry.retry_plugin"])
    assert result.parseoutcomes()["passed"] == 1
    assert any(line.startswith("1 test measured, ") for line in section(result))
    (test,) = json.loads(pytester.path.joinpath("out.json").read_text())["tests"]
    assert test["outcome"] == "passed"
    assert_of_the_last_run(pytester, test["reading"])
    junit = pytester.path.joinpath("junit.xml").read_text()
    assert f'name="gil_contention" value="{test["reading"]["contention"]}"' in junit
    assert junit.count('name="gil_contention"') == 1


@exact
def test_pytest_retry_of_a_test_over_its_limit(pytester):
    pytest.importorskip("pytest_retry")
    pytester.makepyfile(
        "import pytest\n@pytest.mark.flaky(retries=1)\n"
        "@pytest.mark.max_gil_contention(0)\ndef test_a(): pass\n"
    )
    result = run(pytester, "--gil-json=out.json", company=["pytest_retry.retry_plugin"])
    assert result.parseoutcomes()["failed"] == 1
    (test,) = json.loads(pytester.path.joinpath("out.json").read_text())["tests"]
    assert (test["outcome"], test["limits"][0]["verdict"]) == ("failed", "breached")


@exact
def test_a_test_that_pytest_retry_runs_again_is_counted_once_with_its_last_properties(pytester):
    pytest.importorskip("pytest_retry")
    pytester.makepyfile(
        """
        import pytest
        import time

        tried = []

        @pytest.mark.flaky(retries=2)
        def test_at_last():
            tried.append(1)
            if len(tried) == 1:
                end = time.perf_counter() + 0.05
                while time.perf_counter() < end:
                    pass
                assert 0
            time.sleep(0.5)

        def test_other():
            pass
        """
    )
    pytester.makeconftest(
        """
        def pytest_runtest_logreport(report):
            if report.when == "call" and report.outcome == "passed":
                print("\\ncontention:", dict(report.user_properties).get("gil_contention"))
        """
    )
    args = ["--gil-report", "-s"]
    result = run(pytester, *args, company=["pytest_retry.retry_plugin"])
    result.assert_outcomes(passed=2)
    assert any(line.startswith("2 tests measured, ") for line in section(result))
    found = [line.partition(": ")[2] for line in result.outlines if line.startswith("contention:")]
    assert float(found[0]) < 0.5


@exact
def test_flaky(pytester):
    pytest.importorskip("flaky")
    mark = "from flaky import flaky\n@flaky(max_runs=3)"
    pytester.makepyfile(FLAKY.format(mark=mark))
    args = ["--gil-report", "--gil-json=out.json"]
    result = run(pytester, *args, company=["flaky.flaky_pytest_plugin"])
    result.assert_outcomes(passed=1)
    assert any(line.startswith("1 test measured, ") for line in section(result))
    (test,) = json.loads(pytester.path.joinpath("out.json").read_text())["tests"]
    assert_of_the_last_run(pytester, test["reading"])


RETRIED = """
import time
import pytest

@pytest.fixture
def runs(request):
    with open("runs", "a") as file:
        file.write("x")

{mark}
def test_one(runs):
    end = time.perf_counter() + 0.02
    while time.perf_counter() < end:
        pass
"""
OWN = """
def pytest_runtest_protocol(item, nextitem):
    from _pytest.runner import runtestprotocol
    runtestprotocol(item, nextitem=nextitem)
    return True
"""


@exact
@pytest.mark.parametrize(
    ("company", "mark", "args", "reason", "runs"),
    [
        ([], "", [], None, 3),
        (["flaky.flaky_pytest_plugin"], "", [], None, 3),
        (["flaky.flaky_pytest_plugin"], "@pytest.mark.flaky(max_runs=2)", [], None, 2),
        (["flaky.flaky_pytest_plugin"], "from flaky import flaky\n@flaky", [], None, 2),
        (
            ["flaky.flaky_pytest_plugin"],
            "",
            ["--force-flaky", "--max-runs=2"],
            "flaky runs every failed test again itself",
            2,
        ),
        (["pytest_retry.retry_plugin"], "", [], None, 3),
        (["pytest_retry.retry_plugin"], "@pytest.mark.flaky(retries=1)", [], None, 2),
        (
            ["pytest_retry.retry_plugin"],
            "",
            ["--retries=1"],
            "pytest-retry runs every failed test again itself",
            2,
        ),
        (["pytest_rerunfailures"], "", [], None, 3),
        (["pytest_rerunfailures"], "@pytest.mark.flaky(reruns=1)", [], None, 2),
        (
            ["pytest_rerunfailures"],
            "",
            ["--reruns=1"],
            "rerunfailures runs every failed test again itself",
            2,
        ),
        (
            ["pytest_forked"],
            "",
            ["--forked"],
            "pytest-forked runs every test in a process of its own",
            1,
        ),
        (
            ["own_way"],
            "",
            [],
            "own_way may run tests in a way of its own (pytest_runtest_protocol)",
            1,
        ),
    ],
)
def test_a_test_that_others_run_in_their_own_way_is_left_to_them(
    pytester, company, mark, args, reason, runs
):
    for name in company:
        if name != "own_way":
            pytest.importorskip(name.partition(".")[0])
    pytester.makepyfile(own_way=OWN, test_a=RETRIED.format(mark=""))
    pytester.syspathinsert()
    run(pytester, "--gil-save=base.json", company=[]).assert_outcomes(passed=1)
    saved = json.loads(pytester.path.joinpath("base.json").read_text())
    for entry in saved["tests"].values():
        entry.update(contention=0.0, wait=0.0, max_wait=0.0)
    pytester.path.joinpath("base.json").write_text(json.dumps(saved))
    pytester.path.joinpath("runs").unlink()
    pytester.makepyfile(test_a=RETRIED.format(mark=mark))
    options = ["--gil-compare=base.json", "--gil-compare-fail=contention:0.1"]
    result = run(pytester, *options, "--gil-compare-retries=4", *args, company=company)
    assert result.parseoutcomes()["failed"] == 1
    assert len(pytester.path.joinpath("runs").read_text()) == runs
    said = [line for line in result.outlines if "--gil-compare-retries has no effect" in line]
    start = "gilknock: warning: --gil-compare-retries has no effect: "
    assert said == ([] if reason is None else [f"{start}{reason}"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


FORKS = """
import json
import os
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):  # as pytest-forked does
    hook = item.config.hook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        with open(write, "w") as file:
            for report in runtestprotocol(item, log=False, nextitem=nextitem):
                data = hook.pytest_report_to_serializable(config=item.config, report=report)
                print(json.dumps(data), file=file)
        os._exit(0)
    os.close(write)
    with open(read) as file:
        for line in file:
            data = json.loads(line)
            report = hook.pytest_report_from_serializable(config=item.config, data=data)
            hook.pytest_runtest_logreport(report=report)
    os.waitpid(child, 0)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
"""
THREE = """
import time
import pytest

def test_short(): pass

def test_long(): time.sleep(0.01)

@pytest.mark.max_gil_contention(0)
def test_limited(): pass
"""


def forks(pytester, how):
    """Have each test forked by a conftest.py, or by pytest-forked where it works."""
    if how == "conftest":
        pytester.makeconftest(FORKS)
        return [], []
    pytest.importorskip("pytest_forked")
    pytester.makepyfile(test_plain="def test_plain(): pass")
    plain = run(pytester, "--forked", "-pno:gilknock", company=["pytest_forked"])
    pytester.path.joinpath("test_plain.py").unlink()
    if plain.ret:
        pytest.skip("pytest-forked does not work with this pytest")
    return ["--forked"], ["pytest_forked"]


@exact
@pytest.mark.parametrize("how", ["conftest", "plugin"])
@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["alone", "xdist"])
def test_readings_of_forked_tests_ride_on_their_reports(pytester, workers, how):
    options, company = forks(pytester, how)
    pytester.makepyfile(THREE)
    options += ["--gil-report", "--junitxml=junit.xml", "--gil-json=out.json", *workers]
    result = run(pytester, *options, company=company)
    result.assert_outcomes(passed=2, failed=1)
    lines = section(result)
    assert any(line.startswith("3 tests measured, ") for line in lines)
    assert "3 tests ran in forked processes: what they did there is not in the whole run." in lines
    tests = json.loads(pytester.path.joinpath("out.json").read_text())["tests"]
    assert {test["nodeid"].partition("::")[2] for test in tests} == {
        "test_short",
        "test_long",
        "test_limited",
    }
    assert pytester.path.joinpath("junit.xml").read_text().count('"gil_contention"') == 3


@exact
@pytest.mark.parametrize("how", ["conftest", "plugin"])
def test_short_tests_that_are_forked_are_counted(pytester, how):
    options, company = forks(pytester, how)
    pytester.makepyfile("def test_a(): pass\ndef test_b(): pass\n")
    result = run(pytester, *options, "--gil-report", company=company)
    assert any(line.startswith("2 tests measured, ") for line in section(result))


PROPERTIES = {"gil_contention", "gil_wait_s", "gil_max_wait_s", "gil_method", "gil_blame"}
TWO = "import time\ndef test_long(): time.sleep(0.01)\ndef test_short(): pass\n"


def test_properties_without_a_file_that_shows_them(pytester):
    """A test too short for a reading has none; with a file, see below, it is read for it."""
    pytester.makepyfile(TWO)
    pytester.makeconftest(
        """
        def pytest_runtest_logreport(report):
            if report.when == "call":
                print("properties:", sorted(name for name, _ in report.user_properties))
        """
    )
    result = inner.run(pytester, "--gil-report", "-s")
    assert result.stdout.str().count(f"properties: {sorted(PROPERTIES)}") == 1


def test_pytest_json_report(pytester):
    pytest.importorskip("pytest_jsonreport")
    pytester.makepyfile(TWO)
    run(pytester, "--gil-report", "--json-report", company=["pytest_jsonreport.plugin"])
    tests = json.loads(pytester.path.joinpath(".report.json").read_text())["tests"]
    found = [{name for one in test.get("user_properties", ()) for name in one} for test in tests]
    assert found == [PROPERTIES, PROPERTIES]


def test_pytest_reportlog(pytester):
    """It writes down all that a report has: of ours only the properties are for others."""
    pytest.importorskip("pytest_reportlog")
    pytester.makepyfile(TWO)
    run(pytester, "--gil-report", "--report-log=log.json", company=["pytest_reportlog.plugin"])
    lines = pytester.path.joinpath("log.json").read_text().splitlines()
    reports = [json.loads(line) for line in lines]
    calls = [report for report in reports if report.get("when") == "call"]
    assert [{name for name, _ in report["user_properties"]} for report in calls] == [
        PROPERTIES,
        PROPERTIES,
    ]
    assert not [key for report in reports for key in report if "gilknock" in key]
