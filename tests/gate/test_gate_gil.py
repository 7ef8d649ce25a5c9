"""Gates where a test turns the GIL on, which was off in the saved run; the GIL is scripted."""

import sysconfig
from dataclasses import replace

import pytest
from support.gate_samples import ENTRY, write
from support.scripted_gil import IMPORTS, script_gil

OFF = replace(ENTRY, method="disabled", held=None, metrics=dict.fromkeys(ENTRY.metrics))

SKIPS = f"def test_one():\n    {IMPORTS}\n    pytest.skip('x')\n"
COMPARE, GATE = "--gil-compare=base.json", "--gil-compare-fail=wait:1s"


@pytest.fixture(autouse=True)
def _scripted_gil(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    script_gil(pytester, monkeypatch)
    write(pytester.path / "base.json", test_one=OFF)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("test", "outcome"),
    [
        (SKIPS, "skipped"),
        (f"@pytest.mark.xfail\ndef test_one():\n    {IMPORTS}\n    assert False\n", "xfailed"),
        (f"@pytest.mark.xfail\ndef test_one():\n    {IMPORTS}\n", "xpassed"),
    ],
    ids=["skip", "xfail", "xpass"],
)
def test_a_last_test_that_no_gate_fails_fails_the_run(
    pytester: pytest.Pytester, test: str, outcome: str, workers: int
) -> None:
    pytester.makepyfile(test_a=f"import pytest\n{test}")
    result = pytester.runpytest(COMPARE, GATE, f"-n{workers}")
    result.assert_outcomes(**{outcome: 1})
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "GIL contention regression: enabled, was disabled, turned on by needs.gil, but no test"
            " failed for it; set by --gil-compare-fail"
        ]
    )


@pytest.mark.parametrize(
    ("test", "arguments", "before"),
    [
        ("def test_one(): pytest.skip('x')\n", [COMPARE, GATE], OFF),
        (SKIPS, [COMPARE], OFF),
        (SKIPS, [COMPARE, GATE], ENTRY),
        (f"{IMPORTS}\n{SKIPS}", [COMPARE, GATE], OFF),
    ],
    ids=["stays off", "no gate", "was on", "on before the tests"],
)
def test_other_runs_in_which_all_tests_skip_pass(
    pytester: pytest.Pytester, test: str, arguments: list[str], before: object
) -> None:
    write(pytester.path / "base.json", test_one=before)
    pytester.makepyfile(test_a=f"import pytest\n{test}")
    result = pytester.runpytest(*arguments)
    result.assert_outcomes(skipped=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*no test failed for it*")


IN_TWO_WORKERS = """
import os
import pytest

@pytest.mark.xdist_group("first")
def test_one():
    os.environ["SCRIPTED_GIL"] = "1"
    {first}

@pytest.mark.xdist_group("second")
def test_two():
    os.environ["SCRIPTED_GIL"] = "1"
    {second}

@pytest.mark.xdist_group("second")
def test_three():
    {third}
"""


@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="the readings of tests are not scripted, and a test that passes has none with a GIL",
)
@pytest.mark.parametrize(
    ("second", "third", "outcomes", "is_said"),
    [
        ("pass", "pytest.skip('x')", {"skipped": 2, "failed": 1}, False),
        ("assert False", "pytest.skip('x')", {"skipped": 2, "failed": 1}, True),
        ("pytest.skip('x')", "pytest.skip('x')", {"skipped": 3}, True),
    ],
    ids=["one fails for it", "one fails", "all skip"],
)
def test_that_no_test_failed_for_it_is_said_of_the_whole_run(
    pytester: pytest.Pytester, second: str, third: str, outcomes: dict[str, int], is_said: bool
) -> None:
    write(pytester.path / "base.json", test_one=OFF, test_two=OFF, test_three=OFF)
    tests = IN_TWO_WORKERS.format(first="pytest.skip('x')", second=second, third=third)
    pytester.makepyfile(test_a=tests)
    result = pytester.runpytest(COMPARE, GATE, "-n2", "--dist=loadgroup")
    result.assert_outcomes(**outcomes)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    said = [line for line in result.outlines if "no test failed for it" in line]
    assert len(said) == is_said
