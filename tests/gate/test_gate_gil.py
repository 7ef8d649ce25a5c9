"""Gates where a test turns the GIL on, which was off in the saved run; the GIL is scripted."""

import os
from dataclasses import replace

import pytest
from support.gate_samples import ENTRY, write

from pytest_gilknock.measurement import gil_watch

OFF = replace(ENTRY, method="disabled", held=None, metrics=dict.fromkeys(ENTRY.metrics))

SCRIPT = """
import os
from pytest_gilknock.measurement import gil_watch

if "PYTEST_XDIST_WORKER" in os.environ:
    gil_watch.gil_enabled = lambda: "SCRIPTED_GIL" in os.environ
    gil_watch._Watch.found = gil_watch.GilEnabler("needs.gil", "needs 1.0", ("app.py:3",))
"""

# What a test does that imports a module, with a GIL that this import turns on.
IMPORTS = "__import__('os').environ['SCRIPTED_GIL'] = '1'"

SKIPS = f"def test_one():\n    {IMPORTS}\n    pytest.skip('x')\n"
COMPARE, GATE = "--gil-compare=base.json", "--gil-compare-fail=wait:1s"


@pytest.fixture(autouse=True)
def _scripted_gil(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the inner run have a GIL that is off until a test sets a variable."""
    monkeypatch.setenv("SCRIPTED_GIL", "")
    monkeypatch.delenv("SCRIPTED_GIL")
    enabler = gil_watch.GilEnabler("needs.gil", "needs 1.0", ("app.py:3",))
    monkeypatch.setattr(gil_watch, "gil_enabled", lambda: "SCRIPTED_GIL" in os.environ)
    monkeypatch.setattr(gil_watch._Watch, "found", enabler)
    pytester.makeconftest(SCRIPT)
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
