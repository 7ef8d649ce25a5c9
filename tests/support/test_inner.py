import warnings

import pytest


@pytest.mark.parametrize("without", [(), ("-pno:asyncio",)])
def test_inner_runs_have_no_warnings_of_their_surroundings(
    pytester: pytest.Pytester, without: tuple[str, ...]
) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    with warnings.catch_warnings(record=True) as outside:
        warnings.simplefilter("always")
        result = pytester.runpytest_inprocess(*without)
    result.assert_outcomes(passed=1, warnings=0)
    assert [str(warning.message) for warning in outside] == []
