"""A plugin that writes what each test came to into the file that GILKNOCK_RECORDED names."""

import json
import os
import re

import pytest

outcomes: list[str] = []
called: set[str] = set()
told: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    expected = " as expected" if hasattr(report, "wasxfail") else ""
    outcome = f"{report.nodeid} {report.when} {report.outcome}{expected}"
    if report.when == "call":
        called.add(report.nodeid)
    elif report.outcome == "passed":
        return
    # Reports of one test that read alike, as those of its repetitions do, are numbered.
    count = 1
    while f"{outcome} {count}" in told:
        count += 1
    told.add(f"{outcome} {count}")
    outcomes.append(f"{outcome} {count}")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.outcome != "passed":
        outcomes.append(f"{report.nodeid} collect {report.outcome}")


def pytest_warning_recorded(warning_message, nodeid: str) -> None:
    text = re.sub(r"0x[0-9a-f]+|\d+", "N", str(warning_message.message))
    outcomes.append(f"{nodeid} {warning_message.category.__name__}: {text[:100]}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        with open(os.environ["GILKNOCK_RECORDED"], "w", encoding="utf-8") as file:
            json.dump({"outcomes": outcomes, "called": sorted(called)}, file)
