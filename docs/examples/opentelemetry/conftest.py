import pytest
from opentelemetry import trace


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        readings = {n: v for n, v in report.user_properties if n.startswith("gil_")}
        trace.get_current_span().set_attributes(readings)
    return report
