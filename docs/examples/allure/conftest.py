import allure
import pytest


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        for name, value in report.user_properties:
            if name.startswith("gil_"):
                allure.dynamic.parameter(name, value, excluded=True)
    return report
