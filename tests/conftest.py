from collections.abc import Iterator
from contextlib import suppress

import pytest
from support import inner, turns

from pytest_gilknock import _core  # noqa: F401 - stays loaded when an inner run ends

pytest_plugins = ["pytester"]

with suppress(ImportError):
    import hypothesis

    # A busy machine takes its time for any example.
    hypothesis.settings.register_profile("without deadline", deadline=None)
    hypothesis.settings.load_profile("without deadline")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(turns.Turns(turns.__file__))


@pytest.fixture(scope="session", autouse=True)
def _sealed_off() -> Iterator[None]:
    """Neither the CI nor the plugins around this run have a part in the runs inside its tests."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        inner.seal_off(monkeypatch)
        yield


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    inner.seal_off(monkeypatch)  # anew: it has removed PYTEST_ADDOPTS
    return pytester
