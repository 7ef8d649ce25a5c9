"""Readings that travel from workers to the controller."""

import json
from types import SimpleNamespace

import pytest
from support import inner
from support.inner import exact

from pytest_gilknock.measurement.distributed import Controller


def test_the_controller_takes_readings_off_the_reports_it_keeps():
    class Report:
        pass

    report, taken = Report(), []
    report.gilknock = "reading"
    outlet = SimpleNamespace(take_test=lambda *args: taken.append(args))
    Controller(outlet).pytest_runtest_logreport(report)
    Controller(outlet).pytest_runtest_logreport(report)
    assert taken == [(report, "reading")]
    assert vars(report) == {}


@pytest.mark.parametrize("dist", ["load", "loadgroup", "loadfile"])
def test_xdist_modes(pytester, dist):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.xdist_group("g")
        @pytest.mark.max_gil_contention(1)
        def test_a(): pass
        """
    )
    result = inner.run(pytester, "-n1", f"--dist={dist}", "--gil-json=out.json")
    result.assert_outcomes(passed=1)
    (test,) = json.loads(pytester.path.joinpath("out.json").read_text())["tests"]
    assert [limit["verdict"] for limit in test["limits"]] in (["kept"], ["not judged"])


@exact
def test_nothing_of_a_short_test_travels_unless_it_is_to_be_told(pytester):
    pytester.makepyfile("def test_a(): pass\n")

    def travelled(*options: str) -> list[object]:
        listener = Listener()
        assert pytester.inline_run("-n1", "--gil-report", *options, plugins=[listener]).ret == 0
        return listener.readings

    class Listener:
        def __init__(self) -> None:
            self.readings: list[object] = []

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if hasattr(report, "gilknock"):
                self.readings.append(report.gilknock)

    assert travelled() == []
    assert len(travelled("-vv")) == 1
